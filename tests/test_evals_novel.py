"""Classes in steps without labels, and class means moved by optimal transport, on planted features."""

import numpy as np
import programs
import pytest
from selfsup import evals
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.few_shot import transported


def planted(count, seed, *, classes=6, dim=8, noise=0.05, centres=None):
    """Rows around orthogonal directions, or around given ones."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.eye(classes, dim) if centres is None else centres
    rows = centres[labels] + noise * generator.normal(size=(count, dim))
    return Features(rows.astype(np.float32), labels.astype(np.int32))


def test_separate_classes_are_found_in_any_number_of_steps_without_forgetting():
    for steps in (2, 3):
        found = evals.novel_classes(planted(120, 0), planted(60, 1), steps=steps)
        assert found.pop('novel_forgetting') == 0
        assert set(found.values()) == {1.0}


def test_a_later_class_between_two_earlier_ones_takes_their_rows():
    """Class 2 lies between classes 0 and 1, so its head takes rows from them: forgetting is the share taken."""
    angles = np.deg2rad([0.0, 24.0, 12.0, 180.0])
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    train, test = (planted(n, seed, classes=4, dim=2, noise=0.05, centres=centres) for n, seed in ((800, 0), (400, 1)))
    found = evals.novel_classes(train, test, steps=2)
    # Between neighbours 12 degrees apart the border lies 6 degrees, 2.1 deviations, from either.
    heads = np.deg2rad([0.0, 24.0, 12.0, 180.0])
    own = np.arctan2(test.features[:, 1], test.features[:, 0])
    nearest = np.argmax(np.cos(own[:, None] - heads), axis=1)
    earlier = test.labels < 2
    expected = np.mean(np.argmax(np.cos(own[:, None] - heads[:2]), axis=1)[earlier] == test.labels[earlier])
    assert found['novel_old'] == pytest.approx(np.mean((nearest == test.labels)[earlier]), abs=0.02)
    assert found['novel_forgetting'] == pytest.approx(expected - found['novel_old'], abs=0.02)
    assert found['novel_forgetting'] > 0.005 and found['novel_within'] > found['novel_accuracy']


def test_numbers_without_test_rows_are_left_out_and_too_few_classes_are_refused():
    train, test = planted(120, 0), planted(60, 1)
    some = test.labels < 2  # of the first of three steps
    found = evals.novel_classes(train, Features(test.features[some], test.labels[some]), steps=3)
    assert 'novel_new' not in found and found['novel_old'] == found['novel_accuracy'] == 1
    with pytest.raises(UserError, match='needs at least 3 classes'):
        evals.novel_classes(planted(40, 0, classes=2), planted(20, 1, classes=2))


def sinkhorn_loop(cost, epsilon, iterations=2000):
    """The plan with equal shares, in float64, by plain scaling."""
    kernel = np.exp(-cost / epsilon)
    u, v = np.ones(cost.shape[0]) / cost.shape[0], np.ones(cost.shape[1]) / cost.shape[1]
    left, right = u.copy(), v.copy()
    for _ in range(iterations):
        right = v / (kernel.T @ left)
        left = u / (kernel @ right)
    return left[:, None] * kernel * right


def test_transported_centres_are_means_under_the_plan():
    generator = np.random.default_rng(0)
    centres, queries = generator.normal(size=(3, 4)), generator.normal(size=(12, 4))
    cost = ((centres[:, None] - queries) ** 2).sum(-1)
    plan = sinkhorn_loop(cost / cost.max(), 0.05)
    expected = plan / plan.sum(1, keepdims=True) @ queries
    found = programs.called(transported, centres.astype(np.float32), queries.astype(np.float32))
    # The plan ends where its columns are within 1e-4 of their shares.
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_transport_corrects_a_shift_between_labels_and_queries():
    """Test rows are moved past the border of their class, all by one vector; only transport sees the queries together."""
    centres = 3 + np.eye(3, 4)
    train = planted(60, 0, classes=3, dim=4, noise=0.02, centres=centres)
    test = planted(60, 1, classes=3, dim=4, noise=0.02, centres=centres + 1.5 * np.array([1.0, -1.0, 0.0, 0.0]))
    settings = {'ways': 3, 'shots': (2,), 'queries': 10, 'episodes': 8, 'chunk': 8}
    accuracy = {c: evals.few_shot(train, test, classifier=c, **settings)['few_shot_2'] for c in ('centre', 'transport')}
    assert accuracy['centre'] < 0.8 and accuracy['transport'] > 0.95, accuracy
