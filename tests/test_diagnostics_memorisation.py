"""SSLMem and feature-variance shares against loops, scikit-learn and closed forms."""

import itertools

import numpy as np
import pytest
from programs import diagnostics
from sklearn.linear_model import LinearRegression
from tolerances import FLOAT64


def views(seed=0, n=7, q=5, d=4):
    return np.random.default_rng(seed).normal(size=(n, q, d))


def loop_distances(v, pairs, distance, normalized):
    if normalized or distance == 'cosine':
        v = v / np.linalg.norm(v, axis=-1, keepdims=True)
    which = [(0, j) for j in range(1, v.shape[1])] if pairs == 'clean' else itertools.combinations(range(v.shape[1]), 2)
    both = [(v[:, i], v[:, j]) for i, j in which]
    one = (lambda a, b: 1 - (a * b).sum(-1)) if distance == 'cosine' else (lambda a, b: np.linalg.norm(a - b, axis=-1))
    return np.mean([one(a, b) for a, b in both], axis=0)


@pytest.mark.parametrize('pairs', ['augmented', 'clean'])
@pytest.mark.parametrize('distance, normalized', [('l2', True), ('l2', False), ('cosine', True)])
def test_sslmem_equals_a_loop(pairs, distance, normalized, x64):
    options = {'pairs': pairs, 'distance': distance, 'normalized': normalized}
    f, g = views(), 3 * views(1)
    expected = loop_distances(g, **options) - loop_distances(f, **options)
    np.testing.assert_allclose(diagnostics.view_distances(f, **options), loop_distances(f, **options), rtol=FLOAT64)
    ours = diagnostics.sslmem(f, g, **options)
    np.testing.assert_allclose(ours, expected, rtol=1e-8)
    np.testing.assert_allclose(diagnostics.sslmem(g, f, **options), -ours, rtol=1e-8)
    scaled = diagnostics.sslmem(f, g, rescaled=True, **options)
    np.testing.assert_allclose(scaled, expected / (expected.max() - expected.min()), rtol=1e-8)


def test_sslmem_limits(x64):
    assert (np.asarray(diagnostics.sslmem(views(), views(), rescaled=True)) == 0).all()
    assert (np.asarray(diagnostics.view_distances(np.ones((4, 3, 5)))) == 0).all()
    # Unrelated directions lie √2 apart.
    assert abs(float(diagnostics.view_distances(views(d=4000)).mean()) - np.sqrt(2)) < 0.02


def binary(n=4000, f=2, seed=0):
    return np.random.default_rng(seed).integers(0, 2, size=(n, f)).astype(np.float64)


def test_shares_of_planted_features(x64):
    features = binary()
    features -= features.mean(0)
    features[:, 1] -= features[:, 0] * (features[:, 0] @ features[:, 1]) / (features[:, 0] @ features[:, 0])
    features /= features.std(0)
    z = features * [3.0, 1.0] @ np.linalg.qr(views(2, 1, 8, 2)[0])[0].T
    np.testing.assert_allclose(diagnostics.feature_variance_share(z, features), [0.9, 0.1], rtol=1e-8)


def test_shares_equal_scikit_learn(x64):
    rng = np.random.default_rng(0)
    features = binary(100, 3)
    z = features @ rng.normal(size=(3, 6)) + rng.normal(size=(100, 6)) + 2
    ours = diagnostics.feature_variance_share(z[:60], features[:60], z[60:], features[60:])
    for i in range(3):
        fitted = LinearRegression().fit(features[:60, i : i + 1], z[:60])
        residual = np.sum((z[60:] - fitted.predict(features[60:, i : i + 1])) ** 2)
        expected = 1 - residual / np.sum((z[60:] - z[60:].mean(0)) ** 2)
        np.testing.assert_allclose(ours[i], expected, rtol=1e-8)


def test_shares_at_the_limits(x64):
    z = np.random.default_rng(0).normal(size=(4000, 6))
    constant = np.concatenate([binary(), np.full((4000, 1), 0.1)], axis=1)
    share = np.asarray(diagnostics.feature_variance_share(z, constant))
    assert (share[:2] < 2e-3).all() and (share[:2] >= 0).all() and share[2] == 0
    assert (np.asarray(diagnostics.feature_variance_share(np.zeros((4000, 6)), constant)) == 0).all()


BAD = {
    'views': (lambda: diagnostics.view_distances(np.ones((4, 1, 3))), r'not \[4, 1, 3\]'),
    'sslmem': (lambda: diagnostics.sslmem(views(), views(q=4)), r'\[7, 5, 4\] and \[7, 4, 4\]'),
    'pairs': (lambda: diagnostics.view_distances(views(), pairs='all'), 'pairs'),
    'distance': (lambda: diagnostics.view_distances(views(), distance='l1'), 'distance'),
    'features': (
        lambda: diagnostics.feature_variance_share(np.ones((4, 3)), np.ones((5, 3))),
        r'\[4, 3\] and \[5, 3\]',
    ),
    'test': (lambda: diagnostics.feature_variance_share(np.ones((4, 3)), np.ones((4, 3)), np.ones((4, 3))), 'together'),
    'columns': (
        lambda: diagnostics.feature_variance_share(np.ones((4, 3)), np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 2))),
        r'z_test \[4, 2\] and z \[4, 3\]',
    ),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
