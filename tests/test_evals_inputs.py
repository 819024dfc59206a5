"""What evaluations are given: rows drawn evenly, labels as they are numbered, batches instead of arrays, ranges of pixels."""

import jax
import numpy as np
import pytest
from selfsup import evals
from selfsup.errors import UserError
from selfsup.evals import Features, even_draw
from selfsup.evals.features import check_both, check_pixel_range


def counts_of(labels, rows):
    return np.unique(np.asarray(labels)[rows], return_counts=True)[1].tolist()


DRAWS = {
    'sorted by class': (np.repeat(np.arange(10), 8), 20, [2] * 10),
    'a small class gives all': (np.repeat([0, 1, 2], [30, 2, 30]), 20, [9, 2, 9]),
    'large labels': (np.repeat([7, 500_000], [50, 50]), 10, [5, 5]),
    'without labels': (np.full(50, -1), 20, [20]),
    'partly labelled: by their share': (np.repeat([-1, 0, 1], [80, 10, 10]), 20, [16, 2, 2]),
}


@pytest.mark.parametrize('labels, count, wanted', DRAWS.values(), ids=DRAWS.keys())
def test_draws_are_even_over_the_classes_and_fixed(labels, count, wanted):
    rows = even_draw(labels, count, seed=0)
    assert counts_of(labels, rows) == wanted
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, even_draw(labels, count, seed=0))
    assert rows.tolist() != even_draw(labels, count, seed=1).tolist()


def test_fewer_rows_than_classes_are_of_different_classes():
    labels = np.repeat(np.arange(100), 5)
    rows = even_draw(labels, 40, seed=0)
    assert len(set(labels[rows])) == 40 and labels[rows].max() > 60


@pytest.mark.parametrize('count', [30, 31])
def test_all_rows_keep_their_order(count):
    np.testing.assert_array_equal(even_draw(np.arange(30) % 3, count, seed=0), np.arange(30))


def test_ranks_are_those_of_an_even_draw():
    labels = np.repeat(np.arange(4), 50)
    rows = np.eye(4, 8)[labels].astype(np.float32) + 0.01 * np.random.default_rng(0).normal(size=(200, 8))
    features = Features(rows.astype(np.float32), labels)
    found = evals.ranks(features, features, samples=40)['rankme']
    assert found > 3.5  # the first forty rows are of one class, of rank one but for the noise


RENUMBERED = {
    'as they are': ([0, 1, 2, 1], [2, 0], [0, 1, 2, 1], [2, 0], 3),
    'large': ([9000, 0, 5000], [5000, 9000], [2, 0, 1], [1, 2], 3),
    'a gap': ([0, 3, 3], [3, 0], [0, 1, 1], [1, 0], 2),
    'a class of test alone follows': ([5, 9, 5], [2, 9, 7], [0, 1, 0], [2, 1, 3], 2),
}


@pytest.mark.parametrize('train, test, ours, theirs, classes', RENUMBERED.values(), ids=RENUMBERED.keys())
def test_labels_are_renumbered(train, test, ours, theirs, classes):
    sets = [Features(np.ones((len(part), 2), np.float32), np.asarray(part, np.int32)) for part in (train, test)]
    one, other, count = check_both(*sets)
    assert (one.labels.tolist(), other.labels.tolist(), count) == (ours, theirs, classes)
    same = check_both(sets[0], sets[0])
    assert same[0] is same[1]


def test_rows_without_a_label_are_left_out_of_all_but_ranks():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = (np.eye(3, 12)[labels] + 0.1 * rng.normal(size=(60, 12))).astype(np.float32)
    whole = Features(rows, labels)
    partly = Features(np.concatenate([rows, 5 + rows]), np.concatenate([labels, np.full(60, -1)]))
    assert evals.evaluate(partly, whole, only=('knn',)) == evals.evaluate(whole, whole._replace(), only=('knn',))
    assert evals.evaluate(partly, whole, only=('ranks',)) != evals.evaluate(whole, whole, only=('ranks',))
    with pytest.raises(UserError, match='train: 60 samples have no label'):
        evals.knn_grid(partly, whole)


def encode(rows):
    return {'features': rows.reshape(len(rows), -1) ** 2}


def test_batches_are_encoded_like_an_array_and_compiled_once():
    rows = np.random.default_rng(0).normal(size=(37, 4, 4)).astype(np.float32)
    counting = jax.jit(encode)
    expected = evals.extract(counting, rows, batch_size=16)['features']
    np.testing.assert_array_equal(expected, encode(rows)['features'])
    for most in (0, 5, 37, 100):  # how many rows there are at most may be unknown, or wrong
        batches = (rows[start : start + 16] for start in range(0, 37, 16))
        np.testing.assert_array_equal(evals.extract(counting, batches, most=most)['features'], expected)
    assert counting._cache_size() == 1
    with pytest.raises(UserError, match='a batch of 9 rows follows a first batch of 5'):
        evals.extract(encode, iter([rows[:5], rows[:9]]))
    with pytest.raises(UserError, match='no images to encode'):
        evals.extract(encode, iter([]))


@pytest.mark.parametrize(
    'images, refused',
    [
        (np.full((2, 3), 255, np.uint8), False),
        (np.full((2, 3), 1.2, np.float32), False),  # resampling overshoots
        (np.full((2, 3), 200.0, np.float32), True),
        (np.zeros((0, 3), np.float32), False),
    ],
)
def test_floats_that_are_not_in_the_unit_range_are_refused(images, refused):
    if not refused:
        check_pixel_range(images)
        return
    with pytest.raises(UserError, match=r'float images must lie in \[0, 1\], and the largest value is 200'):
        check_pixel_range(images)
