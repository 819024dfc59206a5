"""k-means: scikit-learn's result from the same centres, rows that do not count, empty clusters, devices."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import compiled, diagnostics
from selfsup import parallel
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from tolerances import FLOAT32

KEY = jax.random.key(0)


def noise(n=400, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def reference(z, start):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        return KMeans(len(start), init=start, n_init=1, max_iter=300, tol=0).fit(z)


@pytest.mark.parametrize('empty', ['keep', 'farthest'])
def test_lloyd_from_given_centres_is_scikit_learns(empty):
    """Also where clusters are empty at the start: both move them to the farthest rows."""
    z = noise()
    start = z[np.random.default_rng(1).permutation(len(z))[:12]].copy()
    if empty == 'farthest':
        start[-3:] = 50 + np.arange(15).reshape(3, 5)
    centres, member = diagnostics.kmeans(KEY, z, clusters=12, start=start, empty=empty, iterations=100)
    theirs = reference(z, start)
    np.testing.assert_array_equal(member, theirs.labels_)
    np.testing.assert_allclose(centres, theirs.cluster_centers_, rtol=1e-4, atol=FLOAT32)
    np.testing.assert_allclose(diagnostics.inertia(z, centres, member), theirs.inertia_, rtol=FLOAT32)
    assert len(np.unique(member)) == 12


def test_an_empty_cluster_keeps_its_centre_or_moves():
    z = noise(40)
    start = np.concatenate([z[:3], np.full((1, 5), 50.0)]).astype(np.float32)
    kept, member = diagnostics.kmeans(KEY, z, clusters=4, start=start, iterations=10)
    np.testing.assert_array_equal(kept[3], start[3])
    assert 3 not in np.asarray(member)
    _, member = diagnostics.kmeans(KEY, z, clusters=4, start=start, iterations=10, empty='farthest')
    assert set(np.asarray(member).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize('start', ['rows', 'plus_plus'])
def test_rows_that_are_not_valid_do_not_count(start):
    """Whatever stands in them, nothing of the others changes."""
    z, valid = noise(70), np.arange(70) % 3 != 0
    found = [
        diagnostics.kmeans(KEY, np.where(valid[:, None], z, other).astype(np.float32), clusters=6, start=start, valid=valid)
        for other in (0.0, 1e3)
    ]  # fmt: skip
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.asarray(found[0][1])[~valid] == -1).all() and (np.asarray(found[0][1])[valid] >= 0).all()
    np.testing.assert_array_equal(reference(z[valid], np.asarray(found[0][0])).labels_, np.asarray(found[0][1])[valid])


def test_the_best_of_several_starts_is_kept_and_random_rows_are_distinct():
    z = noise(60)
    one, five = (diagnostics.kmeans(KEY, z, clusters=8, restarts=n) for n in (1, 5))
    alone = [diagnostics.kmeans(k, z, clusters=8) for k in jax.random.split(KEY, 5)]
    of = [float(diagnostics.inertia(z, *found)) for found in (one, five, *alone)]
    assert of[1] == pytest.approx(min(of[2:]), rel=1e-6) and of[1] <= of[0] * 1.05
    centres, _ = diagnostics.kmeans(KEY, z, clusters=60, start='rows', iterations=0)
    np.testing.assert_array_equal(np.sort(centres, axis=0), np.sort(z, axis=0))


def test_directions_are_found_and_devices_do_not_matter():
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(8, 8)))[0][:4]
    labels = rng.integers(0, 4, size=500)
    rows = np.zeros((512, 8), np.float32)
    rows[:500] = (centres[labels] + 0.05 * rng.normal(size=(500, 8))) * rng.uniform(0.5, 2, size=(500, 1))
    valid = np.arange(len(rows)) < 500
    cluster = compiled(diagnostics.module.kmeans, clusters=4, iterations=10, start='rows', spherical=True)
    found = [cluster(jax.random.key(s), rows, valid=valid) for s in range(6)]
    best, chosen = max(found, key=lambda f: float(jnp.mean(jnp.max(rows[:500] @ f[0].T, axis=1))))
    assert np.sort(np.max(np.abs(best @ centres.T), axis=1)).min() > 0.99
    assert sum(np.bincount(labels[np.asarray(chosen[:500]) == c]).max() for c in range(4)) == 500
    assert (np.asarray(chosen[500:]) == -1).all()
    for devices in (2, 8):
        spread = jax.device_put(rows, parallel.sharded(parallel.data_mesh(devices)))
        many = cluster(jax.random.key(0), spread, valid=valid)
        np.testing.assert_array_equal(many[1], found[0][1])
        np.testing.assert_allclose(many[0], found[0][0], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('devices', [2, 4, 8])
def test_euclidean_clusters_do_not_depend_on_the_devices(devices):
    z = noise(512)
    cluster = compiled(diagnostics.module.kmeans, clusters=12, iterations=20, empty='farthest')
    one = cluster(KEY, z)
    many = cluster(KEY, jax.device_put(z, parallel.sharded(parallel.data_mesh(devices))))
    np.testing.assert_array_equal(many[1], one[1])
    np.testing.assert_allclose(many[0], one[0], rtol=1e-4, atol=1e-6)


BAD = {
    'start': ({'start': 'row'}, "start must be 'plus_plus', 'rows' or centres, not 'row'"),
    'centres': ({'start': np.zeros((3, 5), np.float32)}, r'start must be centres \[4, 5\].*not \[3, 5\]'),
    'empty': ({'empty': 'split'}, "empty must be 'keep' or 'farthest', not 'split'"),
    'restarts': ({'restarts': 0}, 'restarts must be at least 1, not 0'),
}


@pytest.mark.parametrize('keywords, message', BAD.values(), ids=BAD.keys())
def test_bad_input(keywords, message, own_checks):
    with pytest.raises(ValueError, match=message):
        diagnostics.module.kmeans(KEY, noise(12), clusters=4, **keywords)
