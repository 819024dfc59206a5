"""Clusters, their learnability and CLID."""

import jax
import numpy as np
import pytest
from programs import diagnostics
from selfsup.diagnostics import clid_scores
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

KEY = jax.random.key(0)


def clumps(n=200, clusters=4, d=5, spread=0.1):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % clusters
    return (10 * rng.normal(size=(clusters, d))[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels


def noise(n=400, d=5):
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def test_kmeans_finds_clumps():
    z, labels = clumps()
    centres, member = diagnostics.kmeans(KEY, z, clusters=4)
    assert normalized_mutual_info_score(labels, member) > 0.999
    np.testing.assert_allclose(
        np.asarray(centres)[np.asarray(member)], [z[labels == c].mean(0) for c in labels], rtol=1e-4
    )


def test_kmeans_is_a_fixed_point_of_lloyd():
    z = noise()
    centres, member = diagnostics.kmeans(KEY, z, clusters=5, iterations=100)
    reference = KMeans(5, init=np.asarray(centres), n_init=1, max_iter=1).fit(z)
    np.testing.assert_array_equal(reference.labels_, member)
    best = KMeans(5, n_init=10, random_state=0).fit(z).inertia_
    assert np.sum((z - np.asarray(centres)[np.asarray(member)]) ** 2) < 1.1 * best


def test_learnability_equals_scikit_learn():
    z = noise()
    order_key, seed_key = jax.random.split(KEY)
    z = z[np.asarray(jax.random.permutation(order_key, len(z)))]
    member = np.asarray(diagnostics.kmeans(seed_key, z, clusters=6)[1])
    reference = KNeighborsClassifier(7).fit(z[200:], member[200:]).score(z[:200], member[:200])
    np.testing.assert_allclose(diagnostics.cluster_learnability(KEY, noise(), clusters=6, k=7), reference, atol=1e-6)


@pytest.mark.slow
def test_limits():
    assert float(diagnostics.cluster_learnability(KEY, clumps()[0], clusters=4, k=5)) == 1
    flat = diagnostics.clid(KEY, np.ones((60, 3), np.float32), clusters=4, k=5)
    assert float(flat['learnability']) == 1 and float(flat['dimension']) == 0
    low, high = (diagnostics.clid(KEY, noise(d=d)) for d in (2, 50))
    assert float(low['learnability']) > float(high['learnability']) + 0.2
    assert float(low['dimension']) < float(high['dimension'])


def test_scores_standardise_over_models():
    learnability, dimension = np.array([0.9, 0.8, 0.4], np.float32), np.array([5.0, 9.0, 20.0], np.float32)
    expected = sum((v - v.mean()) / v.std() for v in (learnability, dimension))
    np.testing.assert_allclose(diagnostics.clid_scores(learnability, dimension), expected, atol=1e-5)
    assert (np.asarray(clid_scores(np.ones(3, np.float32), np.ones(3, np.float32))) == 0).all()


BAD = {
    'clusters': (lambda: diagnostics.kmeans(KEY, noise(4), clusters=5), r'clusters=5.*\[4, 5\]'),
    'held out': (
        lambda: diagnostics.cluster_learnability(KEY, noise(12), clusters=2, k=10),
        r'held_out=0.5.*\[12, 5\]',
    ),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
