"""Neighbours, hubness, its reductions and intrinsic dimension against SciPy, scikit-learn, loops and golden values."""

import numpy as np
import pytest
import scipy.stats
from programs import diagnostics
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64


def cloud(n=60, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
@pytest.mark.parametrize('chunk', [7, 1024])
def test_nearest_equals_scikit_learn(metric, chunk, x64):
    x, y = cloud(20), cloud(60, seed=1) + 3
    search = NearestNeighbors(n_neighbors=4, metric=metric, algorithm='brute').fit(y)
    distance, index = search.kneighbors(x)
    ours, where = diagnostics.nearest(x, y, k=4, metric=metric, chunk=chunk)
    np.testing.assert_array_equal(where, index)
    np.testing.assert_allclose(ours, distance, rtol=1e-8)
    distance, index = search.kneighbors()  # each row without itself
    ours, where = diagnostics.nearest(y, k=4, metric=metric, chunk=chunk)
    np.testing.assert_array_equal(where, index)
    np.testing.assert_allclose(ours, distance, rtol=1e-8)


@pytest.mark.parametrize('metric', ['euclidean', 'cosine', 'squared'])
def test_pairwise_distances_equal_scipy(metric, x64):
    x, y = cloud(6), cloud(9, seed=1) + 3
    name = {'squared': 'sqeuclidean'}.get(metric, metric)
    np.testing.assert_allclose(diagnostics.pairwise_distances(x, y, metric=metric), cdist(x, y, name), rtol=1e-9)
    own = np.asarray(diagnostics.pairwise_distances(x, metric=metric))
    assert (np.diag(own) == 0).all()
    np.testing.assert_allclose(own, cdist(x, x, name), atol=1e-12)


def test_near_duplicates_have_exact_distances_in_float32():
    z = (100 + cloud(50, 16)).astype(np.float32)
    z = np.concatenate([z, z + np.float32(1e-3)])
    distance, index = diagnostics.nearest(z, k=1)
    np.testing.assert_array_equal(np.asarray(index)[:, 0], (np.arange(100) + 50) % 100)
    np.testing.assert_allclose(distance[:, 0], np.linalg.norm(z[:50] - z[50:], axis=1).tolist() * 2, rtol=1e-2)


def test_zero_rows_have_cosine_zero():
    z = np.concatenate([cloud(5, 3), np.zeros((1, 3))]).astype(np.float32)
    distance, _ = diagnostics.nearest(z, k=5, metric='cosine')
    np.testing.assert_allclose(distance[-1], 1.0)
    np.testing.assert_allclose(diagnostics.pairwise_distances(z, metric='cosine')[-1, :-1], 1.0)


def test_hubness_equals_a_loop(x64):
    z = cloud(80, 20)
    index = NearestNeighbors(n_neighbors=6).fit(z).kneighbors()[1]
    count = np.zeros(80)
    for row in index:
        for i in row:
            count[i] += 1
    ours = diagnostics.hubness(z, k=6)
    np.testing.assert_array_equal(diagnostics.occurrences(index, bank=80), count)
    np.testing.assert_allclose(ours['skewness'], scipy.stats.skew(count), rtol=FLOAT64)
    np.testing.assert_allclose(ours['robin_hood'], 0.5 * np.abs(count - 6).sum() / count.sum(), rtol=FLOAT64)
    np.testing.assert_allclose(ours['antihubs'], np.mean(count == 0), rtol=FLOAT64)
    np.testing.assert_allclose(ours['hubs'], count[count >= 12].sum() / count.sum(), rtol=FLOAT64)


def test_hubness_of_a_ring_is_zero():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    hubness = diagnostics.hubness(ring, k=2)
    assert all(float(v) == 0 for v in hubness.values()), hubness


def test_hubness_grows_with_dimension_and_is_reduced():
    low, high = (cloud(2000, d).astype(np.float32) for d in (3, 100))
    assert abs(float(diagnostics.hubness(low)['skewness']) + 0.39) < 0.4
    before = float(diagnostics.hubness(high)['skewness'])
    assert 4 < before < 12
    distances = diagnostics.pairwise_distances(high)
    cosines = diagnostics.pairwise_distances(high, metric='cosine')
    reduced = {
        'local scaling': diagnostics.local_scaling(distances),
        'nicdm': diagnostics.nicdm(distances),
        'mutual proximity': diagnostics.mutual_proximity(distances),
        'csls': diagnostics.csls(cosines),
        'dissim local': diagnostics.dissim_local(high),
    }
    for name, matrix in reduced.items():
        neighbours = diagnostics.nearest_by_distance(matrix, k=10, itself=True)
        after = float(diagnostics.hubness_of(neighbours, bank=2000)['skewness'])
        assert after < 0.5 * before, (name, before, after)


def loop_reduction(name, d, bank, k):
    """From the formulas, one entry at a time; `bank` None means one set with itself."""

    def others(row, i, own):
        return np.sort(np.delete(row, i) if own else row)

    own = bank is None
    rows = [others(d[i], i, own) for i in range(len(d))]
    columns = rows if own else [others(bank[j], j, True) for j in range(len(bank))]
    out = np.zeros(d.shape)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            if own and i == j:
                continue
            a, b = rows[i], columns[j]
            if name == 'local_scaling':
                out[i, j] = 1 - np.exp(-(d[i, j] ** 2) / (a[k - 1] * b[k - 1]))
            elif name == 'nicdm':
                out[i, j] = d[i, j] / np.sqrt(a[:k].mean() * b[:k].mean())
            elif name == 'csls':
                out[i, j] = -(2 * (1 - d[i, j]) - (1 - a[:k]).mean() - (1 - b[:k]).mean())
            else:
                survive = [scipy.stats.norm.sf(d[i, j], s.mean(), s.std()) for s in (a, b)]
                out[i, j] = 1 - survive[0] * survive[1]
    return out


@pytest.mark.parametrize('name', ['local_scaling', 'nicdm', 'csls', 'mutual_proximity'])
@pytest.mark.parametrize('queries', [None, 7, 30])
def test_reductions_equal_a_loop(name, queries, x64):
    z = cloud(30)
    metric = 'cosine' if name == 'csls' else 'euclidean'
    bank = np.asarray(diagnostics.pairwise_distances(z, metric=metric))
    options = {} if name == 'mutual_proximity' else {'k': 4}
    if queries is None:
        ours, expected = getattr(diagnostics, name)(bank, **options), loop_reduction(name, bank, None, 4)
    else:
        d = np.asarray(diagnostics.pairwise_distances(cloud(queries, seed=1), z, metric=metric))
        ours, expected = getattr(diagnostics, name)(d, bank, **options), loop_reduction(name, d, bank, 4)
    off = ~np.eye(30, dtype=bool) if queries is None else np.ones(expected.shape, bool)
    np.testing.assert_allclose(np.asarray(ours)[off], expected[off], rtol=1e-8)


@pytest.mark.parametrize('queries', [None, 7])
def test_dissim_local_equals_a_loop(queries, x64):
    y = cloud(30)
    x = y if queries is None else cloud(queries, seed=1)

    def away(p, own):
        order = np.argsort(np.sum((y - p) ** 2, axis=1))[own : own + 4]
        return np.sum((p - y[order].mean(0)) ** 2)

    own = queries is None
    expected = [[np.sum((a - b) ** 2) - away(a, own) - away(b, True) for b in y] for a in x]
    ours = np.asarray(diagnostics.dissim_local(x, None if own else y, k=4))
    off = ~np.eye(30, dtype=bool) if own else np.ones(ours.shape, bool)
    np.testing.assert_allclose(ours[off], np.asarray(expected)[off], rtol=1e-8)
    if own:
        assert (np.diag(ours) == -np.inf).all()


def test_reductions_of_a_collapsed_set_are_finite():
    zeros = np.zeros((8, 8), np.float32)
    for name in ('local_scaling', 'nicdm', 'csls', 'mutual_proximity'):
        out = np.asarray(getattr(diagnostics, name)(zeros))
        off = out[~np.eye(8, dtype=bool)]
        assert (off == off[0]).all() and np.isfinite(off).all(), name


LDREG = {
    'moments': (lambda z: diagnostics.lid_moments(z, k=8, average='arithmetic'), 2.0598837903),
    'moments, log': (lambda z: -np.mean(np.abs(np.log(diagnostics.lid_moments(z, k=8, average=None)))), -0.6784239481),
    'likelihood': (lambda z: diagnostics.lid_mle(z, k=8, offset=0, eps=1e-4, average='arithmetic'), 2.3374925049),
}  # fmt: skip


@pytest.mark.parametrize('function, value', LDREG.values(), ids=LDREG.keys())
def test_local_dimension_golden(function, value, golden, x64):
    both = np.concatenate(golden)
    assert abs(float(function(both)) - value) < GOLDEN_FLOAT64
    np.testing.assert_allclose(function(both.astype(np.float32)), value, rtol=FLOAT32)


def planted(d, n=2000):
    basis, _ = np.linalg.qr(cloud(50, d, 1))
    return (cloud(n, d) @ basis.T).astype(np.float32)


@pytest.mark.parametrize('d, two_nn, lid', [(2, 1.98, 2.03), (5, 5.16, 5.02), (10, 10.04, 9.17)])
def test_known_intrinsic_dimension(d, two_nn, lid):
    z = planted(d)
    assert abs(float(diagnostics.two_nn(z)) - two_nn) < 0.08 * d
    assert abs(float(diagnostics.two_nn(z, fit='mle')) - d) < 0.1 * d
    assert abs(float(diagnostics.lid_mle(z)) - lid) < 0.04 * d
    assert abs(float(diagnostics.lid_moments(z)) - d) < 0.15 * d


DIMENSIONS = {'two_nn': diagnostics.two_nn, 'mle': diagnostics.lid_mle, 'moments': diagnostics.lid_moments}


@pytest.mark.parametrize('function', DIMENSIONS.values(), ids=DIMENSIONS.keys())
def test_dimension_invariance_and_limits(function, x64):
    z = cloud(100, 6)
    turn, _ = np.linalg.qr(cloud(6, 6, 1))
    np.testing.assert_allclose(function(1e-3 * z @ turn + 2), function(z), rtol=1e-6)
    assert float(function(np.ones((40, 6)))) == 0
    corners = np.eye(40)  # a simplex: all distances are equal
    assert float(function(corners)) > 1e3


def test_duplicates_are_left_out(x64):
    z = cloud(200, 3)
    doubled = np.concatenate([z, z[:20]])
    assert abs(float(diagnostics.two_nn(doubled)) - float(diagnostics.two_nn(z))) < 0.5
    assert abs(float(diagnostics.lid_mle(doubled)) - float(diagnostics.lid_mle(z))) < 0.3


def test_two_nn_and_lid_equal_loops(x64):
    z = cloud(50, 4)
    d = np.sort(cdist(z, z), axis=1)[:, 1:]
    mu = np.sort(d[:, 1] / d[:, 0])
    x, y = np.log(mu[:45]), -np.log(1 - np.arange(1, 46) / 50)
    np.testing.assert_allclose(diagnostics.two_nn(z), x @ y / (x @ x), rtol=1e-8)
    np.testing.assert_allclose(diagnostics.two_nn(z, fit='mle'), 49 / np.log(mu).sum(), rtol=1e-8)
    lid = 9 / np.log(d[:, 9:10] / d[:, :9]).sum(1)
    np.testing.assert_allclose(diagnostics.lid_mle(z, k=10, average=None), lid, rtol=1e-8)
    np.testing.assert_allclose(diagnostics.lid_mle(z, k=10), scipy.stats.hmean(lid), rtol=1e-8)
    np.testing.assert_allclose(diagnostics.lid_mle(z, k=10, average='geometric'), scipy.stats.gmean(lid), rtol=1e-8)
    unbiased = diagnostics.lid_mle(z, k=10, offset=2, average='arithmetic')
    np.testing.assert_allclose(unbiased, lid.mean() * 8 / 9, rtol=1e-8)


BAD = {
    'k': (lambda: diagnostics.nearest(cloud(5), k=5), r'k=5 .* between 1 and 4.*\[5, 5\]'),
    'metric': (lambda: diagnostics.nearest(cloud(5), k=2, metric='l1'), 'metric'),
    'width': (lambda: diagnostics.nearest(cloud(5, 3), cloud(5, 4), k=2), r'\[5, 3\] and \[5, 4\]'),
    'square': (lambda: diagnostics.nicdm(np.ones((4, 5))), r'square, and have shape \[4, 5\]'),
    'bank': (lambda: diagnostics.nicdm(np.ones((4, 5)), np.ones((6, 6))), r'\[4, 5\] and \[6, 6\]'),
    'reduction k': (lambda: diagnostics.nicdm(np.ones((5, 5)), k=5), 'k=5'),
    'lid k': (lambda: diagnostics.lid_mle(cloud(5), k=2), 'k=2'),
    'average': (lambda: diagnostics.lid_mle(cloud(9), k=5, average='median'), 'average'),
    'fit': (lambda: diagnostics.two_nn(cloud(9), fit='x'), 'fit'),
    'few rows': (lambda: diagnostics.two_nn(cloud(3)), 'four rows'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
