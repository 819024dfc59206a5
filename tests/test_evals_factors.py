"""Rendered sprites with known factors, and what a representation holds of factors."""

import numpy as np
import pytest
from scipy import stats
from selfsup import evals
from selfsup.data import sources, sprites
from selfsup.errors import UserError
from selfsup.evals import Features, Known
from selfsup.evals.factors import binned, disentanglement, mutual_information, mutual_information_gap, targets
from sklearn.linear_model import Ridge
from sklearn.metrics import mutual_info_score

RNG = np.random.default_rng(0)
NUMBERS = {'shape': 0, 'colour': 0, 'size': 5, 'angle': 0, 'row': 16, 'column': 16}


def test_sprites_are_what_their_factors_say():
    square = sprites.render(NUMBERS, 64)
    inside = square[..., 0] > 0
    area, rows = inside.mean(), np.flatnonzero(inside.any(axis=1))
    # A square of half-side 0.8 radii of 0.2 sides; its centre a little below and right of the middle.
    assert area == pytest.approx((2 * 0.8 * 0.2) ** 2, rel=0.1)
    assert rows[0] + rows[-1] == pytest.approx(2 * 64 * (0.25 + 0.5 * 16 / 31), abs=2)
    np.testing.assert_array_equal(sprites.render({**NUMBERS, 'angle': 10}, 64), square)  # a quarter turn
    moved = sprites.render({**NUMBERS, 'column': 31, 'row': 0}, 64)
    assert moved[..., 0].mean() == pytest.approx(square[..., 0].mean(), rel=0.02)  # nothing is cut off
    assert moved.mean(axis=(0, 2)).argmax() > 32 > moved.mean(axis=(1, 2)).argmax()
    small, blue = sprites.render({**NUMBERS, 'size': 0}, 64), sprites.render({**NUMBERS, 'colour': 5}, 64)
    assert (small > 0).any(axis=2).mean() == pytest.approx(area / 4, rel=0.15)
    assert blue.reshape(-1, 3).max(axis=0).tolist() == [70, 100, 240]
    areas = [(sprites.render({**NUMBERS, 'shape': s}, 64) > 0).any(axis=2).mean() for s in range(3)]
    assert max(areas) < 1.4 * min(areas)
    heart = sprites.render({**NUMBERS, 'shape': 2}, 64)[..., 0] > 0
    widths = heart.sum(axis=1)[heart.any(axis=1)]
    assert widths[len(widths) // 4] > 2 * widths[-2]  # wide above, a point below


def test_angles_are_multiples_of_nine_degrees():
    turns = 2 * np.pi * np.arange(40) / 40
    np.testing.assert_allclose(sprites.DIRECTIONS, np.stack([np.cos(turns), np.sin(turns)], axis=1), atol=1e-14)


def test_a_source_of_shapes_keeps_its_factors_through_selections():
    train, test = sources.open_source('shapes:300')
    assert len(train) + len(test) == 300 and train.class_names == ('square', 'ellipse', 'heart')
    assert train.spec.shape == (32, 32, 3) and train.spec.is_image
    np.testing.assert_array_equal(train.factors['shape'].values, train.labels)
    some = train.select(np.array([5, 2]), 'two')
    expected = {name: int(factor.values[2]) for name, factor in train.factors.items()}
    np.testing.assert_array_equal(some[1]['input'], sprites.render(expected, 32))
    again, _ = sources.open_source('shapes:300')
    assert again.fingerprint == train.fingerprint != sources.open_source('shapes:301')[0].fingerprint
    few, many = (sprites.drawn_factors(n, 0)['row'].values for n in (10, 1000))
    np.testing.assert_array_equal(few, many[:10])
    counts = np.bincount(sprites.drawn_factors(5000, 0)['colour'].values, minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3
    with pytest.raises(UserError, match='must be shapes:<images>, from 10 to'):
        sources.open_source('shapes:many')


def test_disentanglement_is_the_weighted_entropy_of_importances():
    importance = RNG.random((6, 3))
    # disentanglement_lib adds 1e-11 to the shares, which is below the tolerance here.
    d = 1 - stats.entropy(importance.T + 1e-11, base=3)
    c = 1 - stats.entropy(importance + 1e-11, base=6)
    weights, factors = importance.sum(axis=1) / importance.sum(), importance.sum(axis=0) / importance.sum()
    assert disentanglement(importance) == pytest.approx((np.sum(d * weights), np.sum(c * factors)), abs=1e-8)
    assert disentanglement(np.eye(3)) == pytest.approx((1, 1)) and disentanglement(np.ones((4, 4))) == pytest.approx(
        (0, 0)
    )
    assert disentanglement(np.repeat(np.eye(3), 2, axis=0)) == pytest.approx((1, 1 - np.log(2) / np.log(6)))
    assert disentanglement(np.zeros((2, 2))) == (0, 0)


def test_the_gap_is_that_of_mutual_information_in_bins():
    codes, values = RNG.normal(size=(500, 4)), RNG.integers(0, 5, 500)
    codes[:, 2] += 2 * values
    expected = []
    for column in codes.T:
        edges = np.histogram(column, 20)[1]
        expected.append(mutual_info_score(np.digitize(column, edges[:-1]), values))
    cut = binned(codes)
    assert [mutual_information(c, values) for c in cut.T] == pytest.approx(expected, abs=1e-9)
    first, second = sorted(expected)[:-3:-1]
    entropy = stats.entropy(np.bincount(values))
    assert mutual_information_gap(codes, {'a': values}) == pytest.approx({'a': (first - second) / entropy})
    own = values[:, None].astype(float)
    assert mutual_information_gap(own, {'a': values})['a'] == pytest.approx(1)
    assert mutual_information_gap(np.repeat(own, 2, axis=1), {'a': values})['a'] == pytest.approx(0)


def planted(count, seed):
    rng = np.random.default_rng(seed)
    values = {'kind': rng.integers(0, 3, count), 'place': rng.integers(0, 9, count), 'turn': rng.integers(0, 8, count)}
    counts = {'kind': (3, 'class'), 'place': (9, 'number'), 'turn': (8, 'angle')}
    columns = [targets(values[name], *counts[name]) for name in counts]
    return np.concatenate([*columns, 0.01 * rng.normal(size=(count, 2))], axis=1).astype(np.float32), values, counts


def known_of(ours, theirs, counts):
    return {name: Known(ours[name], theirs[name], *counts[name]) for name in counts}


@pytest.mark.slow
def test_factors_that_are_features_are_read_and_found_apart():
    (x, ours, counts), (x_test, theirs, _) = planted(600, 0), planted(300, 1)
    known, zeros = known_of(ours, theirs, counts), np.zeros(600, np.int32)
    train, test = Features(x, zeros), Features(x_test, zeros[:300])
    found = evals.factors(train, test, known)
    assert min(found[f'factor_r2_{name}'] for name in counts) > 0.99
    # The same reader by scikit-learn, whose penalty is ours times samples and the mean variance of a feature.
    model = Ridge(alpha=1e-3 * 600 * x.var(axis=0).mean()).fit(x, targets(ours['place'], 9, 'number'))
    assert found['factor_r2_place'] == pytest.approx(
        model.score(x_test, targets(theirs['place'], 9, 'number')), abs=1e-5
    )
    assert found['dci_d'] > 0.7 and found['dci_c'] > 0.5 and found['factor_forest'] > 0.95
    assert found['mig_place'] > 0.9  # the only factor that one code holds whole
    # Its share of the variance: var of the number over the sum of all columns' variances.
    assert found['factor_share_place'] == pytest.approx(x[:, 3].var() / x.var(axis=0).sum(), abs=0.02)
    turn = np.linalg.qr(RNG.normal(size=(8, 8)))[0].astype(np.float32)
    turned = evals.factors(Features(x @ turn, zeros), Features(x_test @ turn, zeros[:300]), known)
    assert turned['factor_r2'] == pytest.approx(found['factor_r2'], abs=1e-3) and turned['dci_d'] < found['dci_d'] - 0.2


@pytest.mark.parametrize(
    'change, message',
    [
        ({'train': np.full(20, 2)}, r'factor place is constant in train \(value 2\): leave it out'),
        ({'test': np.arange(7) % 9}, 'factor place has 7 values, and test 10 samples'),
        ({'count': 4}, 'factor place: train reaches from 0 to 8, of 4'),
        ({'kind': 'colour'}, "kind 'colour' must be one of class, number, angle"),
    ],
)
def test_factors_that_do_not_fit_are_named(change, message):
    known = Known(np.arange(20) % 9, np.arange(10) % 9, 9, 'number')._replace(**change)
    sets = (Features(RNG.normal(size=(n, 3)).astype(np.float32), np.zeros(n, np.int32)) for n in (20, 10))
    with pytest.raises(UserError, match=message):
        evals.factors(*sets, {'place': known})
