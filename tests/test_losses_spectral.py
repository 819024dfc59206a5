"""Spectral transformation, local dimension, entropy and sparsity: golden values, special cases, gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from loss_references import ldreg_reference
from loss_rows import views
from programs import compiled
from selfsup import losses
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64

both_axes = pytest.mark.parametrize('axis', [0, 1])


def transformed(scale, axis, **keywords):
    return jax.jit(lambda z: losses.spectral_transform(z, scale, axis=axis, **keywords))


@both_axes
def test_whitening_is_the_transform_by_the_root(axis, x64):
    z = views()[0]
    white = np.asarray(transformed(losses.power_scale(exponent=0.5), axis)(z))
    found = np.linalg.eigvalsh(np.cov(white, rowvar=axis == 0))
    rank = 6 if axis else 5  # of 16 rows, each centred over its 6 dimensions
    np.testing.assert_allclose(found[-rank:], 1.0, rtol=1e-9)
    np.testing.assert_allclose(found[:-rank], 0.0, atol=1e-9)


def test_whitening_of_dimensions_is_zca(x64):
    z = views()[0]
    centred = z - z.mean(0)
    values, vectors = np.linalg.eigh(np.cov(z, rowvar=False))
    expected = centred @ (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(transformed(losses.power_scale(), 1)(z), expected, rtol=1e-9, atol=1e-12)


@both_axes
def test_powers_rescale_the_spectrum(axis, x64):
    """Exponent 0 leaves the embeddings as they are, centred; others take eigenvalues λ to λ^(1 − 2p)."""
    z = 3.0 * views()[0]
    centred = z - z.mean(1 - axis, keepdims=True)
    np.testing.assert_allclose(transformed(losses.power_scale(exponent=0.0), axis)(z), centred, rtol=1e-9, atol=1e-12)
    before = np.linalg.eigvalsh(np.cov(centred, rowvar=axis == 0))[-5:]
    after = np.linalg.eigvalsh(np.cov(transformed(losses.power_scale(exponent=0.3), axis)(z), rowvar=axis == 0))[-5:]
    np.testing.assert_allclose(after, before**0.4, rtol=1e-9)


@both_axes
def test_iterative_normalization_is_a_spectral_transform(axis, x64):
    """Value and gradient, by products and by eigenvalues."""
    z = views()[0]
    scale = losses.iterative_scale(iterations=4)

    def value(normalized):
        return jnp.sum(jnp.sin(3.0 * normalized))

    by_products = jax.value_and_grad(lambda z: value(losses.iterative_normalization(z, axis=axis)))
    by_values = jax.value_and_grad(lambda z: value(losses.spectral_transform(z, scale, axis=axis, by_trace=True)))
    (one, slope), (other, other_slope) = jax.jit(by_products)(z), jax.jit(by_values)(z)
    np.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(slope, other_slope, rtol=1e-8, atol=1e-9)


def test_iterations_whiten_in_the_limit(x64):
    z = views()[0]
    found = compiled(losses.iterative_normalization, iterations=30, axis=1)(z)
    np.testing.assert_allclose(found, transformed(losses.power_scale(), 1)(z), rtol=1e-7, atol=1e-9)
    assert float(losses.trace_loss(found, axis=1)) < 1e-9
    few = compiled(losses.iterative_normalization, iterations=4, axis=1)(z)
    assert 0 < np.linalg.eigvalsh(np.cov(few, rowvar=False)).max() <= 1.0
    assert float(losses.trace_loss(few, axis=1)) > 1e-6


@both_axes
def test_gradient_of_a_spectral_transform(axis, x64):
    z = views(6, 4)[0]
    check_grads(transformed(losses.power_scale(exponent=0.3), axis), (z,), 1, modes=['rev'], rtol=1e-5)


def test_gradient_where_eigenvalues_repeat(x64):
    """The derivative of an eigenvector is infinite there, that of the transform is not."""
    z = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0][:, :5]
    z = z - z.mean(0)
    z = np.linalg.qr(z)[0]  # centred still, and white: one eigenvalue, five times
    value = jax.jit(lambda z: jnp.sum(jnp.sin(3.0 * losses.spectral_transform(z, losses.power_scale(exponent=0.3)))))
    gradient, step = jax.jit(jax.grad(value))(z), np.random.default_rng(2).normal(size=z.shape)
    slope = (value(z + 1e-5 * step) - value(z - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose(np.sum(gradient * step), slope, rtol=1e-6)


def test_a_target_gets_no_gradient_and_no_trace(x64):
    z1, z2 = views()
    terms, whole = (compiled(losses.intl_terms, target=t)(z1, z2) for t in (True, False))
    np.testing.assert_allclose(terms['invariance'], whole['invariance'], rtol=FLOAT64)
    own = losses.trace_loss(losses.iterative_normalization(z1))
    np.testing.assert_allclose(terms['trace'], whole['trace'] - own, rtol=1e-9)
    assert not np.any(jax.jit(jax.grad(lambda z: losses.intl(z, z2, target=True)))(z1))


def test_intl_takes_the_mean_over_views_after_the_first(x64):
    z1, z2 = views()
    z3 = z2[::-1] + z1
    pairs = [compiled(losses.intl)(z1, z) for z in (z2, z3)]
    np.testing.assert_allclose(compiled(losses.intl)(z1, z2, z3), np.mean(pairs), rtol=FLOAT64)


def test_golden_local_dimensions(golden, x64):
    both = np.concatenate(golden)
    for dtype, tolerance in ((np.float64, {'rtol': 0, 'atol': GOLDEN_FLOAT64}), (np.float32, {'rtol': FLOAT32})):
        z = both.astype(dtype)
        for estimator, expected in (('moments', 2.0598837903), ('likelihood', 2.3374925049)):
            logarithms, known = compiled(losses.local_dimension, neighbours=8, estimator=estimator)(z)
            assert known.all()
            np.testing.assert_allclose(np.exp(np.asarray(logarithms, float)).mean(), expected, **tolerance)
        np.testing.assert_allclose(compiled(losses.ldreg, neighbours=8)(z), -0.6784239481, **tolerance)


def test_a_row_is_no_neighbour_of_itself(x64):
    z = views()[0]
    alone = compiled(losses.local_dimension, neighbours=8)(z)[0]
    for row in (0, 5):
        others = compiled(losses.local_dimension, neighbours=8)(z[row : row + 1], np.delete(z, row, axis=0))[0]
        np.testing.assert_allclose(alone[row], others[0], rtol=1e-9)


def test_ldreg_is_without_scale_and_shift(x64):
    z1, z2 = views()
    expected = compiled(losses.ldreg, neighbours=8)(z1, z2)
    np.testing.assert_allclose(
        compiled(losses.ldreg, neighbours=8)(1e9 * z1 - 3e9, 1e9 * z2 - 3e9), expected, rtol=1e-6
    )


def test_ldreg_of_duplicates_is_finite():
    """Four copies of each of four rows: as many neighbours at distance 0 as there are, then all at others."""
    z = np.tile(views(4)[0], (4, 1)).astype(np.float32)
    for estimator in ('moments', 'likelihood'):
        for neighbours in (3, 8):
            loss = partial(losses.ldreg, neighbours=neighbours, estimator=estimator)
            found, gradient = jax.jit(jax.value_and_grad(loss))(z)
            assert np.isfinite(found) and np.isfinite(gradient).all()


def test_ldregs_gradient_raises_the_dimension():
    """Points near a line in ten dimensions leave it."""
    rng = np.random.default_rng(0)
    z = (np.outer(rng.normal(size=64), np.ones(10)) + 0.05 * rng.normal(size=(64, 10))).astype(np.float32)
    step = jax.jit(lambda z: z - 0.5 * jax.grad(lambda z: losses.ldreg(z, neighbours=16))(z))
    dimension = jax.jit(lambda z: jnp.exp(jnp.mean(losses.local_dimension(z, neighbours=16)[0])))
    before = float(dimension(z))
    for _ in range(50):
        z = step(z)
    assert before < 1.2 and float(dimension(z)) > 1.5


def test_golden_entropy_and_covariance(golden, x64):
    found = compiled(losses.e2mc_terms)(golden[0])
    np.testing.assert_allclose(found['entropy'], -0.5653977654, atol=GOLDEN_FLOAT64)
    np.testing.assert_allclose(found['covariance'], 0.0012035236, atol=GOLDEN_FLOAT64)


def test_entropy_is_largest_for_the_distribution_of_the_squash():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(2000, 4)).astype(np.float32)
    entropy = {s: float(compiled(losses.e2mc_terms)(s * normal)['entropy']) for s in (0.5, 1.0, 2.0)}
    assert -0.05 < entropy[1.0] < 0.05
    assert max(entropy[0.5], entropy[2.0]) < entropy[1.0] - 0.05


def test_golden_visreg(x64):
    z = np.random.RandomState(0).randn(2, 8, 16)
    directions = np.random.RandomState(2).randn(16, 32).T
    terms = [compiled(losses.centre_scale_shape)(view, directions) for view in z]
    for name, expected in (('centre', 0.0710839470), ('scale', 0.0671378669), ('shape', 0.1492361810)):
        np.testing.assert_allclose(np.mean([t[name] for t in terms]), expected, atol=1e-8)  # quantiles were float32


def test_the_shape_of_visreg_does_not_act_on_the_scale(x64):
    """Its gradient along z − µ of each dimension would change σ; with σ stopped it is that of (z − µ)/σ alone."""
    z, directions = views(32)[0], np.eye(6)
    gradients = [
        np.asarray(jax.jit(jax.grad(lambda z, s=s: losses.centre_scale_shape(z, directions, stop_scale=s)['shape']))(z))
        for s in (True, False)
    ]
    assert np.abs(np.sum(gradients[0] * (z - z.mean(0)), axis=0)).max() > 1e-3
    np.testing.assert_allclose(np.sum(gradients[1] * (z - z.mean(0)), axis=0), 0, atol=1e-4)


def test_sparsemax_is_the_projection_onto_the_simplex(x64):
    z = np.random.default_rng(0).normal(size=(5, 7))
    p = np.asarray(compiled(losses.sparsemax)(z))
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-12)
    assert (p >= 0).all() and (p == 0).any()
    for row, found in zip(z, p, strict=True):  # the KKT conditions: z − p is one number on the support, less elsewhere
        apart = row - found
        np.testing.assert_allclose(apart[found > 0], apart.max(), rtol=1e-12)
    np.testing.assert_allclose(compiled(losses.sparsemax)(z + 5.0), p, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(compiled(losses.sparsemax)(100 * z), np.eye(7)[z.argmax(1)])
    check_grads(losses.sparsemax, (z,), 1, modes=['rev'])


def test_the_gradient_of_the_sparsemax_loss_is_the_difference_to_the_label(x64):
    z, labels = np.random.default_rng(0).normal(size=(5, 7)), np.array([0, 1, 2, 3, 6])
    found, gradient = jax.jit(jax.value_and_grad(losses.sparsemax_loss))(z, labels)
    np.testing.assert_allclose(5 * gradient, compiled(losses.sparsemax)(z) - np.eye(7)[labels], atol=1e-12)
    assert found > 0 and abs(float(losses.sparsemax_loss(3.0 * np.eye(7), np.arange(7)))) < 1e-12


def test_flops_prefers_what_is_spread(x64):
    """Of activations with one mean, those of one dimension cost the most, by its width."""
    one = np.zeros((6, 6))
    one[:, 0] = 1.0
    costs = [float(losses.flops(z)) for z in (one, np.eye(6))]
    np.testing.assert_allclose(costs, [1.0, 1 / 6])


@pytest.mark.parametrize('form', ['l1', 'l2'])
def test_forms_of_ldreg_agree_with_the_reference_in_float32(form):
    z1, z2 = views(dtype=np.float32)
    found = compiled(losses.ldreg, neighbours=8, form=form)(z1, z2)
    np.testing.assert_allclose(found, ldreg_reference(z1.astype(float), z2.astype(float), form=form), rtol=FLOAT32)
