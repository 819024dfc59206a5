"""Diagnostics against golden values, NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import diagnostics
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64


def cloud(n=64, d=8, dtype=np.float64):
    return np.random.default_rng(0).normal(size=(n, d)).astype(dtype)


GOLDEN = {
    'rankme': (lambda x, y: diagnostics.rankme(x), 5.470078018),
    'rankme, centred': (lambda x, y: diagnostics.rankme(x - x.mean(0)), 5.468037283),
    'alignment': (diagnostics.alignment, 0.0837106881),
    'uniformity': (lambda x, y: diagnostics.uniformity(x), -2.7810970107),
}


@pytest.mark.parametrize('function, value', GOLDEN.values(), ids=GOLDEN.keys())
def test_golden(function, value, golden, x64):
    assert abs(float(function(*golden)) - value) < GOLDEN_FLOAT64
    single = function(*(z.astype(np.float32) for z in golden))
    np.testing.assert_allclose(single, value, rtol=FLOAT32)


@pytest.mark.parametrize('shape', [(64, 8), (8, 64), (9, 9)])
def test_singular_values_equal_numpy(shape, x64):
    z = cloud(*shape)
    np.testing.assert_allclose(diagnostics.singular_values(z), np.linalg.svd(z, compute_uv=False), rtol=FLOAT64)


def test_singular_values_of_a_steep_spectrum_in_float32():
    left, _ = np.linalg.qr(cloud(256, 16))
    right, _ = np.linalg.qr(cloud(16, 16))
    spectrum = np.logspace(0, -5, 16)
    z = (left * spectrum @ right).astype(np.float32)
    # The eigenvalues of ZᵀZ would lose everything below 3e-4.
    np.testing.assert_allclose(diagnostics.singular_values(z), spectrum, rtol=2e-2)


def test_blocks_of_a_tall_skinny_qr_agree(x64):
    z = cloud()
    np.testing.assert_allclose(diagnostics.singular_values(z, blocks=4), diagnostics.singular_values(z), rtol=FLOAT64)
    with pytest.raises(ValueError, match='blocks=16'):
        diagnostics.singular_values(z, blocks=16)


def test_ranks_of_planted_subspaces(x64):
    basis, _ = np.linalg.qr(cloud(64, 3))
    assert abs(float(diagnostics.effective_rank(basis)) - 3) < 1e-8
    assert abs(float(diagnostics.effective_rank(np.outer(np.ones(64), np.ones(8)))) - 1) < 1e-8
    assert float(diagnostics.rankme(np.zeros((10, 4)))) < 1.0001
    assert abs(float(diagnostics.rankme(cloud(20000, 8))) - 8) < 0.01


@pytest.mark.parametrize('name', ['rankme', 'effective_rank'])
def test_rank_is_blind_to_scale_and_rotation(name, x64):
    z = cloud()
    turn, _ = np.linalg.qr(cloud(8, 8))
    function = getattr(diagnostics, name)
    np.testing.assert_allclose(function(5.0 * z @ turn), function(z), rtol=1e-9)


def test_spread_and_alignment_at_the_limits(x64):
    z = cloud(4096, 64)
    assert float(diagnostics.alignment(z, z)) == 0
    assert abs(float(diagnostics.alignment(z, cloud(4096, 64)[::-1])) - 2) < 0.05
    assert abs(float(diagnostics.feature_deviation(z)) - 1) < 0.02
    assert abs(float(diagnostics.feature_deviation(7 * z, normalized=True)) - 1) < 0.02
    assert float(diagnostics.feature_deviation(np.ones((8, 4)))) == 0
    assert float(diagnostics.uniformity(np.ones((8, 4)))) > -1e-9


def test_relative_alignment_equals_a_double_loop(x64):
    z1, z2 = cloud(9, 3), cloud(9, 3)[::-1] + 0.3
    positive = np.mean([np.sum((a - b) ** 2) for a, b in zip(z1, z2, strict=True)])
    random = np.mean([np.sum((z1[i] - z2[j]) ** 2) for i in range(9) for j in range(9) if i != j])
    np.testing.assert_allclose(diagnostics.relative_alignment(z1, z2), positive / random, rtol=FLOAT64)


def test_relative_alignment_is_not_fooled_by_shrinking(x64):
    z1 = cloud()
    z2 = z1 + 0.1 * cloud()[::-1]
    ratio = diagnostics.relative_alignment(z1, z2)
    np.testing.assert_allclose(diagnostics.relative_alignment(1e-3 * z1, 1e-3 * z2), ratio, rtol=1e-9)
    assert float(diagnostics.alignment(1 + 1e-3 * z1, 1 + 1e-3 * z2)) < 1e-6  # the plain one calls this aligned
    assert float(diagnostics.relative_alignment(np.ones((8, 4)), np.ones((8, 4)))) == 1


def test_gradients_are_finite_at_coinciding_points():
    z = np.ones((6, 4), np.float32)
    for function in (diagnostics.alignment, diagnostics.relative_alignment):
        assert np.isfinite(jax.jit(jax.grad(function))(z, z)).all()


BAD = {
    'rank': (lambda: diagnostics.rankme(np.ones(3)), r'z must have shape \[samples, dim\]'),
    'empty': (lambda: diagnostics.rankme(np.ones((0, 3))), r'not \[0, 3\]'),
    'integers': (lambda: diagnostics.rankme(np.ones((4, 3), int)), 'floating-point'),
    'pairs': (lambda: diagnostics.alignment(np.ones((4, 3)), np.ones((5, 3))), r'\[4, 3\] and \[5, 3\]'),
    'one row': (lambda: diagnostics.uniformity(np.ones((1, 3))), 'two rows'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


PAIRED = {
    'cka': diagnostics.cka,
    'cka, debiased': lambda x, y: diagnostics.cka(x, y, debiased=True),
    'collapse_alarm': diagnostics.collapse_alarm,
    'alignment': diagnostics.alignment,
}


@pytest.mark.parametrize('function', PAIRED.values(), ids=PAIRED.keys())
def test_many_rows_can_be_traced(function):
    """A product of two Python counts may not fit the 32 bits that a constant has."""
    view = jax.ShapeDtypeStruct((2**17, 64), jnp.float32)
    assert all(x.shape == () for x in jax.tree.leaves(jax.eval_shape(function, view, view)))
