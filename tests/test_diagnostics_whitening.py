"""Whitenings: covariance I on the rows fitted, textbook matrices, and their limits."""

import jax
import numpy as np
import pytest
from selfsup import diagnostics


def cloud(n=80, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3.0


def covariance(z, ddof=0):
    return np.cov(np.asarray(z).T, ddof=ddof)


@pytest.mark.parametrize('kind', ['zca', 'pca', 'cholesky'])
@pytest.mark.parametrize('ddof', [0, 1])
def test_rows_come_out_white(kind, ddof, x64):
    whitening = diagnostics.fit_whitening(cloud(), kind=kind, ddof=ddof)
    np.testing.assert_allclose(covariance(diagnostics.whiten(whitening, cloud()), ddof), np.eye(6), atol=1e-9)


@pytest.mark.parametrize('kind', ['zca', 'pca', 'cholesky'])
def test_textbook_matrix(kind, x64):
    sigma = covariance(cloud())
    values, vectors = np.linalg.eigh(sigma)
    ours = np.asarray(diagnostics.fit_whitening(cloud(), kind=kind).matrix)
    if kind == 'zca':
        np.testing.assert_allclose(ours, vectors / np.sqrt(values) @ vectors.T, rtol=1e-8, atol=1e-10)
    elif kind == 'cholesky':
        np.testing.assert_allclose(ours, np.linalg.inv(np.linalg.cholesky(sigma)).T, rtol=1e-8, atol=1e-10)
    else:
        np.testing.assert_allclose(np.abs(ours), np.abs((vectors / np.sqrt(values))[:, ::-1]), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize('kind', ['zca', 'pca', 'cholesky'])
def test_groups_are_whitened_by_themselves(kind, x64):
    out = np.asarray(diagnostics.whiten(diagnostics.fit_whitening(cloud(), kind=kind, groups=2), cloud()))
    for part in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(covariance(out[:, part]), np.eye(3), atol=1e-9)
        alone = diagnostics.fit_whitening(cloud()[:, part], kind=kind)
        np.testing.assert_allclose(out[:, part], diagnostics.whiten(alone, cloud()[:, part]), rtol=1e-8, atol=1e-9)


def test_zca_stays_closest_to_the_rows(x64):
    def moved(kind):
        z = cloud() - cloud().mean(0)
        return np.linalg.norm(np.asarray(diagnostics.whiten(diagnostics.fit_whitening(z, kind=kind), z)) - z)

    assert moved('zca') < min(moved('pca'), moved('cholesky'))


@pytest.mark.parametrize('kind', ['zca', 'cholesky'])
def test_ridge_and_shrinkage(kind, x64):
    sigma = 0.7 * covariance(cloud()) + (0.3 * np.trace(covariance(cloud())) / 6 + 0.05) * np.eye(6)
    ours = np.asarray(diagnostics.fit_whitening(cloud(), kind=kind, shrinkage=0.3, eps=0.05).matrix)
    np.testing.assert_allclose(ours.T @ sigma @ ours, np.eye(6), atol=1e-9)


def test_soft_whitening(x64):
    half = diagnostics.fit_whitening(cloud(), kind='pca', power=0.5)
    spectrum = np.sort(np.diag(covariance(diagnostics.whiten(half, cloud()))))[::-1]
    np.testing.assert_allclose(spectrum, np.sqrt(diagnostics.covariance_spectrum(cloud())), rtol=1e-8)
    none = diagnostics.fit_whitening(cloud(), power=0.0)
    np.testing.assert_allclose(none.matrix, np.eye(6), atol=1e-9)


def test_flat_directions_stay_flat():
    z = cloud().astype(np.float32)
    z[:, 5] = z[:, 4]
    out = diagnostics.whiten(diagnostics.fit_whitening(z, kind='pca', truncate=1e-9), z)
    np.testing.assert_allclose(covariance(out), np.diag([1, 1, 1, 1, 1, 0]), atol=1e-3)
    assert (np.asarray(diagnostics.fit_whitening(np.zeros((20, 3), np.float32)).matrix) == 0).all()


def test_cholesky_of_a_singular_covariance_is_refused():
    z = cloud()
    z[:, 5] = z[:, 4]
    with pytest.raises(ValueError, match='needs eps or shrinkage'):
        diagnostics.fit_whitening(z, kind='cholesky')
    matrix = jax.jit(lambda z: diagnostics.fit_whitening(z, kind='cholesky', shrinkage=0.1).matrix)(z)
    assert np.isfinite(matrix).all()


BAD = {
    'kind': (lambda: diagnostics.fit_whitening(cloud(), kind='zac'), 'kind'),
    'groups': (lambda: diagnostics.fit_whitening(cloud(), groups=4), 'groups=4.* 6 columns'),
    'rows': (lambda: diagnostics.fit_whitening(cloud(1), ddof=1), r'two rows.*\[1, 6\]'),
    'width': (
        lambda: diagnostics.whiten(diagnostics.fit_whitening(cloud()), np.ones((3, 5))),
        r'\[3, 5\] and \[6, 6\]',
    ),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
