"""Gradients where singular values are zero or equal: finite, and right where the function has a derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import diagnostics
from selfsup.diagnostics._common import thin_svd


def cloud(n=20, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


LABELS = np.arange(20) % 4
OTHER = cloud(20, 4, 1)
FUNCTIONS = {
    'canonical_correlations': lambda z: diagnostics.canonical_correlations(z, OTHER),
    'svcca': lambda z: diagnostics.svcca(z, OTHER),
    'svcca, of itself': lambda z: diagnostics.svcca(z, 2 * z),
    'pwcca': lambda z: diagnostics.pwcca(z, OTHER),
    'pwcca, second': lambda z: diagnostics.pwcca(OTHER, z),
    'pwcca, of itself': lambda z: diagnostics.pwcca(z, 2 * z),
    'procrustes': lambda z: diagnostics.procrustes(z, OTHER),
    'procrustes, wide': lambda z: diagnostics.procrustes(z[:4], OTHER[:4]),
    'cka': lambda z: diagnostics.cka(z, OTHER),
    'fit_stitch': lambda z: diagnostics.fit_stitch(z, OTHER).weights,
    'zca': lambda z: diagnostics.fit_whitening(z).matrix,
    'pca': lambda z: diagnostics.fit_whitening(z, kind='pca').matrix,
    'cholesky': lambda z: diagnostics.fit_whitening(z, kind='cholesky', eps=1e-2).matrix,
    'neural_collapse': lambda z: sum(diagnostics.neural_collapse(z, LABELS)[k] for k in ('nc2_norm', 'nc2_angle')),
    'lidar': lambda z: diagnostics.lidar(z.reshape(10, 2, -1)),
    'rankme': diagnostics.rankme,
}
REDUCTIONS = ('local_scaling', 'nicdm', 'csls', 'mutual_proximity')


def finite(values):
    """Infinite values, of a diagonal or beside a radius of 0, as 0."""
    return jnp.where(jnp.isfinite(values), values, 0.0)


FUNCTIONS |= {
    name: lambda z, name=name: finite(getattr(diagnostics, name)(diagnostics.pairwise_distances(z)))
    for name in REDUCTIONS
}
FUNCTIONS['dissim_local'] = lambda z: finite(diagnostics.dissim_local(z))
CASES = {
    'duplicate columns': np.concatenate([cloud(), cloud()], axis=1),
    'three of one': np.repeat(cloud(20, 2), 3, axis=1),
    'constant columns': np.concatenate([cloud(), np.ones((20, 2))], axis=1),
    'duplicate rows': np.repeat(cloud(5, 6), 4, axis=0),
    'equal rows': np.repeat(cloud(1, 6), 20, axis=0),
    'orthonormal': np.linalg.qr(cloud(20, 6) - cloud(20, 6).mean(0))[0],
}


@pytest.mark.parametrize('case', CASES)
@small.each(FUNCTIONS, quick=())
def test_gradients_are_finite(name, case):
    z = jnp.asarray(CASES[case], jnp.float32)
    gradient = jax.grad(lambda z: jnp.sum(FUNCTIONS[name](z)))(z)
    assert jnp.isfinite(gradient).all(), gradient


@pytest.mark.slow
@pytest.mark.parametrize('name', ['canonical_correlations', 'svcca', 'pwcca', 'procrustes'])
def test_gradients_at_duplicate_columns_are_those_without_them(name, x64):
    function = getattr(diagnostics, name)
    x, turn = jnp.asarray(cloud()), jnp.asarray(np.concatenate([np.eye(3), np.eye(3)], axis=1) / np.sqrt(2))
    for weights in (1.0, jnp.arange(1.0, 4.0)):  # single correlations differ in their gradients

        def total(z, weights=weights):
            values = function(z, OTHER)
            return jnp.sum(weights * values[:3]) if values.ndim else values

        once, twice = jax.grad(total)(x), jax.grad(lambda x, total=total: total(jnp.matmul(x, turn)))(x)
        np.testing.assert_allclose(twice, once, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize('shape', [(7, 4), (4, 7), (5, 5)])
def test_the_tangent_of_a_svd_is_jaxs_own_where_values_differ(shape, x64):
    z, tangent = (jnp.asarray(cloud(*shape, seed=seed)) for seed in (0, 1))
    for mine, other in zip(
        jax.jvp(thin_svd, (z,), (tangent,)),
        jax.jvp(lambda z: tuple(jnp.linalg.svd(z, full_matrices=False)), (z,), (tangent,)),
        strict=True,
    ):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
