"""CKA, Procrustes and canonical correlations against NumPy, SciPy and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from programs import diagnostics
from tolerances import FLOAT64


def cloud(n=64, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def related(n=64, dx=8, dy=6):
    x = cloud(n, dx) * np.arange(1, dx + 1) + 2
    return x, x @ cloud(dx, dy, 1) + 5 * cloud(n, dy, 2) - 1


def numpy_cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)


def numpy_hsic1(x, y):
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0), np.fill_diagonal(l, 0)
    one = np.ones(n)
    terms = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / (n - 1) / (n - 2) - 2 / (n - 2) * (one @ k @ l @ one)
    return terms / (n * (n - 3))


def numpy_debiased_cka(x, y):
    return numpy_hsic1(x, y) / np.sqrt(numpy_hsic1(x, x) * numpy_hsic1(y, y))


def numpy_minibatch(x, y, batch):
    parts = [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x) - batch + 1, batch)]
    xy, xx, yy = (np.mean([numpy_hsic1(*f(a, b)) for a, b in parts]) for f in (
        lambda a, b: (a, b), lambda a, b: (a, a), lambda a, b: (b, b)))  # fmt: skip
    return xy / np.sqrt(xx * yy)


def scipy_procrustes(x, y):
    x, y = ((z - z.mean(0)) / np.linalg.norm(z - z.mean(0)) for z in (x, y))
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    turn, _ = scipy.linalg.orthogonal_procrustes(y, x)
    return np.linalg.norm(x - y @ turn) ** 2


def numpy_cca(x, y):
    """From covariances, the textbook way."""
    x, y = x - x.mean(0), y - y.mean(0)

    def inverse_root(c):
        values, vectors = np.linalg.eigh(c)
        return vectors / np.sqrt(values) @ vectors.T

    left, rho, _ = np.linalg.svd(inverse_root(x.T @ x) @ (x.T @ y) @ inverse_root(y.T @ y))
    variates = x @ inverse_root(x.T @ x) @ left[:, : len(rho)]
    return rho, np.abs(variates.T @ x).sum(1)


def numpy_svcca(x, y, share=0.99):
    def leading(z):
        left, sigma, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
        kept = np.searchsorted(np.cumsum(sigma**2) / np.sum(sigma**2), share) + 1
        return left[:, :kept] * sigma[:kept]

    return numpy_cca(leading(x), leading(y))[0].mean()


def numpy_pwcca(x, y):
    rho, weights = numpy_cca(x, y)
    return np.sum(rho * weights) / np.sum(weights)


REFERENCE = {
    'cka': (diagnostics.cka, numpy_cka),
    'debiased': (lambda x, y: diagnostics.cka(x, y, debiased=True), numpy_debiased_cka),
    'minibatch': (lambda x, y: diagnostics.minibatch_cka(x, y, batch=10), lambda x, y: numpy_minibatch(x, y, 10)),
    'one batch': (lambda x, y: diagnostics.minibatch_cka(x, y, batch=len(x)), numpy_debiased_cka),
    'procrustes': (diagnostics.procrustes, scipy_procrustes),
}
TALL = {
    'cca': (diagnostics.canonical_correlations, lambda x, y: numpy_cca(x, y)[0]),
    'svcca': (diagnostics.svcca, numpy_svcca),
    'svcca, half': (lambda x, y: diagnostics.svcca(x, y, variance=0.5), lambda x, y: numpy_svcca(x, y, 0.5)),
    'pwcca': (diagnostics.pwcca, numpy_pwcca),
    'pwcca, y wider': (lambda x, y: diagnostics.pwcca(y, x), lambda x, y: numpy_pwcca(y, x)),
}


@pytest.mark.parametrize('sizes', [(64, 8, 6), (12, 40, 30), (20, 4, 50)], ids=['tall', 'wide', 'mixed'])
@pytest.mark.parametrize('function, reference', REFERENCE.values(), ids=REFERENCE.keys())
def test_reference(function, reference, sizes, x64):
    x, y = related(*sizes)
    np.testing.assert_allclose(function(x, y), reference(x, y), rtol=1e-9)


@pytest.mark.parametrize('function, reference', TALL.values(), ids=TALL.keys())
def test_cca_reference(function, reference, x64):
    x, y = related()
    np.testing.assert_allclose(function(x, y), reference(x, y), rtol=1e-9)


SAME = {'cka': 1, 'debiased': 1, 'minibatch': 1, 'procrustes': 0, 'svcca': 1, 'pwcca': 1}
ALL = REFERENCE | TALL


@pytest.mark.parametrize('name, value', SAME.items())
def test_rotated_scaled_and_shifted_copies_are_the_same(name, value):
    x = (cloud(60, 6) * np.arange(1, 7)).astype(np.float32)
    turn, _ = np.linalg.qr(cloud(6, 6, 3))
    np.testing.assert_allclose(ALL[name][0](x, (1e-3 * x @ turn + 1).astype(np.float32)), value, atol=1e-4)


@pytest.mark.parametrize('name', ['cka', 'debiased', 'procrustes'])
def test_invariance_of_one_side(name, x64):
    x, y = related()
    turn, _ = np.linalg.qr(cloud(8, 8, 3))
    np.testing.assert_allclose(ALL[name][0](7 * x @ turn - 2, y), ALL[name][0](x, y), rtol=1e-9)
    np.testing.assert_allclose(ALL[name][0](y, x), ALL[name][0](x, y), rtol=1e-9)


@pytest.mark.parametrize('name', ['cca'])
def test_cca_is_invariant_to_invertible_maps(name, x64):
    x, y = related()
    np.testing.assert_allclose(ALL[name][0](x @ cloud(8, 8, 3), y), ALL[name][0](x, y), rtol=1e-9)
    assert abs(float(diagnostics.pwcca(x, x @ cloud(8, 8, 3))) - 1) < 1e-9


def test_the_bias_of_plain_cka(x64):
    x, y = cloud(50, 400), cloud(50, 400, 1)
    assert abs(float(diagnostics.cka(x, y)) - 400 / 450) < 0.02
    assert abs(float(diagnostics.cka(x, y, debiased=True))) < 0.05


def test_collapsed_sides():
    x, point = cloud(20, 4).astype(np.float32), np.zeros((20, 4), np.float32)
    for name in ('cka', 'debiased', 'minibatch', 'svcca', 'pwcca'):
        assert float(ALL[name][0](x, point)) == float(ALL[name][0](point, point)) == 0, name
    assert abs(float(diagnostics.procrustes(x, point)) - 1) < 1e-6
    assert float(diagnostics.procrustes(point, point)) == 0


def test_collapsed_rows_columns_and_sides_get_a_finite_gradient():
    x, y = cloud(20, 4).astype(np.float32), cloud(20, 4, 1).astype(np.float32)
    dead = {'row': x.copy(), 'column': x.copy(), 'side': np.zeros_like(x)}
    dead['row'][3], dead['column'][:, 1] = 0, 0
    functions = {name: lambda z, f=ALL[name][0]: f(z, y) for name in ('cka', 'debiased', 'minibatch')}
    for name in ('feature_deviation', 'feature_correlation', 'uniformity'):
        functions[name] = getattr(diagnostics, name)
    for name, function in functions.items():
        gradient = jax.jit(jax.grad(function))
        for case, z in dead.items():
            assert np.isfinite(gradient(z)).all(), (name, case)
    pair = jax.jit(jax.grad(lambda z: jnp.sum(diagnostics.relative_representation(z, y))))(dead['row'])
    assert np.abs(pair).max() < 1e3 and not np.any(np.asarray(pair)[3])


def test_rank_deficient_sides(x64):
    x, y = related()
    twice = np.concatenate([x, x], axis=1)
    np.testing.assert_allclose(
        diagnostics.canonical_correlations(twice, y)[:6], diagnostics.canonical_correlations(x, y), rtol=FLOAT64
    )
    np.testing.assert_allclose(diagnostics.svcca(twice, y, variance=1.0), diagnostics.svcca(x, y, variance=1.0))


BAD = {
    'rows': (lambda: diagnostics.cka(np.ones((4, 3)), np.ones((5, 3))), r'\[4, 3\] and \[5, 3\]'),
    'few': (lambda: diagnostics.cka(np.ones((3, 3)), np.ones((3, 3)), debiased=True), r'four rows.*\[3, 3\]'),
    'batch': (lambda: diagnostics.minibatch_cka(np.ones((8, 3)), np.ones((8, 3)), batch=9), r'batch=9'),
    'cca': (lambda: diagnostics.svcca(np.ones((2, 3)), np.ones((2, 3))), 'three rows'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
