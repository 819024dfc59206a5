"""Segmentation from patch features against loops and scikit-learn."""

import numpy as np
import pytest
from selfsup import evals
from selfsup.errors import UserError
from selfsup.evals import Segmented, dense
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score
from sklearn.preprocessing import StandardScaler

CLASSES = 3


@pytest.mark.parametrize('size, grid', [((6, 6), (3, 2)), ((5, 7), (2, 3))])
def test_shares_count_the_pixels_whose_centre_lies_in_a_cell(size, grid):
    masks = np.random.default_rng(0).integers(0, CLASSES, (2, *size))
    counts = np.zeros((2, *grid, CLASSES))
    for number, i, j in np.ndindex(masks.shape):
        row, column = int((i + 0.5) / size[0] * grid[0]), int((j + 0.5) / size[1] * grid[1])
        counts[number, row, column, masks[number, i, j]] += 1
    found = dense.class_shares(masks, grid, classes=CLASSES)
    np.testing.assert_allclose(found, counts / counts.sum(axis=3, keepdims=True), rtol=1e-6)


def test_votes_are_interpolated_bilinearly_from_centre_to_centre():
    votes = np.random.default_rng(0).normal(size=(2, 2, 3, CLASSES)).astype(np.float32)
    height, width = 6, 6
    expected = np.zeros((2, height, width), int)
    for number, i, j in np.ndindex(expected.shape):
        y = np.clip((i + 0.5) / height * 2 - 0.5, 0, 1)
        x = np.clip((j + 0.5) / width * 3 - 0.5, 0, 2)
        row, column = min(int(y), 0), min(int(x), 1)
        down, along = y - row, x - column
        upper = votes[number, row, column] * (1 - along) + votes[number, row, column + 1] * along
        lower = votes[number, row + 1, column] * (1 - along) + votes[number, row + 1, column + 1] * along
        expected[number, i, j] = np.argmax(upper * (1 - down) + lower * down)
    np.testing.assert_array_equal(dense.pixel_classes(votes, (height, width)), expected)
    one = dense.pixel_classes(votes[:, :1, :1], (2, 2))
    np.testing.assert_array_equal(one, np.broadcast_to(votes[:, :1, :1].argmax(3), (2, 2, 2)))


def test_mean_iou_is_that_of_a_loop_and_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (4, 5, 5)), rng.integers(0, 4, (4, 5, 5))
    ratios = []
    for label in range(4):  # the fourth is predicted only, and a fifth occurs nowhere
        hits = sum(t == label and p == label for t, p in zip(truth.ravel(), predicted.ravel(), strict=True))
        union = sum(t == label or p == label for t, p in zip(truth.ravel(), predicted.ravel(), strict=True))
        ratios.append(hits / union)
    found = dense.mean_iou(dense.confusion(truth, predicted, classes=5))
    np.testing.assert_allclose(found, np.mean(ratios), rtol=1e-12)
    np.testing.assert_allclose(found, jaccard_score(truth.ravel(), predicted.ravel(), average='macro'), rtol=1e-12)
    assert ratios[3] == 0 and dense.mean_iou(dense.confusion(truth, truth, classes=5)) == 1
    known = dense.background(truth, classes=5)
    share = (truth == 0).mean()
    np.testing.assert_allclose(list(known.values()), [share / 3, share], rtol=1e-12)


def test_nearest_patches_vote_with_their_shares():
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    shares = rng.dirichlet(np.ones(CLASSES), 20).astype(np.float32)
    expected = np.zeros((7, CLASSES))
    for number, query in enumerate(queries):
        cosines = [query @ row / np.linalg.norm(query) / np.linalg.norm(row) for row in bank]
        nearest = np.argsort(cosines)[::-1][:5]
        weights = np.exp(np.array(cosines)[nearest] / 0.1)
        expected[number] = weights @ shares[nearest] / weights.sum()
    found = dense.knn_votes(bank, shares, queries, neighbours=5, temperature=0.1)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def scenes(count, seed, noise=0.4):
    """Maps of 3 x 3 places whose features tell the most frequent class of their 2 x 2 pixels, with noise."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, CLASSES, (count, 3, 3)).repeat(2, 1).repeat(2, 2)
    flips = rng.random(masks.shape) < 0.15
    masks = np.where(flips, rng.integers(0, CLASSES, masks.shape), masks)
    shares = dense.class_shares(masks, (3, 3), classes=CLASSES)
    means = np.array([[3, 0, 0, 1, 0], [0, 2, 0, 1, 0], [0, 0, 1, 1, 0]])
    features = shares @ means + noise * rng.normal(size=(count, 3, 3, 5))
    return Segmented(features.astype(np.float32), masks)


@pytest.fixture(scope='module')
def sets():
    return scenes(20, 0), scenes(8, 1)


def test_the_linear_segmentation_is_scikit_learns(sets):
    train, test = sets
    found = evals.segmentation(*sets, classes=CLASSES, inverse_regularizations=(0.1,), neighbours=200)
    flat, queries = (part.features.reshape(-1, 5) for part in sets)
    scaler = StandardScaler().fit(flat)
    labels = dense.class_shares(train.masks, (3, 3), classes=CLASSES).argmax(3).ravel()
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(scaler.transform(flat), labels)
    logits = model.decision_function(scaler.transform(queries)).reshape(8, 3, 3, CLASSES)
    predicted = dense.pixel_classes(logits.astype(np.float32), (6, 6))
    assert abs(found['dense_linear_accuracy'] - (predicted == test.masks).mean()) < 0.005
    assert (
        abs(found['dense_linear_miou'] - jaccard_score(test.masks.ravel(), predicted.ravel(), average='macro')) < 0.005
    )
    assert found['dense_linear_miou'] > 0.5 and found['dense_knn_miou'] > 0.4


def test_the_test_masks_decide_nothing(sets):
    train, test = sets
    found = evals.segmentation(train, test, classes=CLASSES, name='x')
    other = np.random.default_rng(5).integers(0, CLASSES, test.masks.shape)
    random = evals.segmentation(train, test._replace(masks=other), classes=CLASSES, name='x')
    assert found['chosen_x_C'] == random['chosen_x_C'] and random['x_linear_miou'] < 0.35 < found['x_linear_miou']
    assert set(found) == {'x_knn_miou', 'x_knn_accuracy', 'x_linear_miou', 'x_linear_accuracy', 'chosen_x_C'}


TRAIN = scenes(2, 0)
BAD = {
    'masks of other images': (TRAIN._replace(masks=TRAIN.masks[:1]), TRAIN, 'train: maps .* and masks .* do not match'),
    'other maps': (TRAIN, TRAIN._replace(features=TRAIN.features[..., :4]), 'needs maps of one shape'),
    'one image': (Segmented(TRAIN.features[:1], TRAIN.masks[:1]), TRAIN, 'two images to learn from'),
    'not finite': (
        TRAIN._replace(features=TRAIN.features * np.nan),
        TRAIN,
        'train: 18 rows of features are not finite',
    ),
    'small masks': (TRAIN._replace(masks=TRAIN.masks[:, :2]), TRAIN, 'a map of 3x3 features has more places'),
}


@pytest.mark.parametrize('train, test, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(train, test, message):
    with pytest.raises(UserError, match=message):
        evals.segmentation(train, test, classes=CLASSES)
