"""Every loss through the same rows, which are in loss_rows.py."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from loss_rows import LOSSES, each, views
from selfsup import losses
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


@each
@pytest.mark.parametrize('shape', [(12, 6), (3, 6)], ids=['feature form', 'sample form'])
def test_equals_a_loop_in_numpy(row, shape, x64):
    z1, z2 = views(*shape)
    np.testing.assert_allclose(row.loss(z1, z2), row.reference(z1, z2), rtol=FLOAT64)


@each
def test_golden_value(row, golden, x64):
    if row.golden is None:
        np.testing.assert_allclose(row.loss(*golden), row.reference(*golden), rtol=FLOAT64)
        return
    keywords, value = row.golden
    assert abs(float(row.loss(*golden, **keywords)) - value) < GOLDEN_FLOAT64
    single = row.loss(*(jnp.asarray(z, jnp.float32) for z in golden), **keywords)
    np.testing.assert_allclose(single, value, rtol=FLOAT32)


@each
def test_gradient(row, x64):
    z1, z2 = views(6, 4)
    if row.stopped:
        check_grads(lambda z: row.loss(z, z2), (z1,), order=1, modes=['rev'], atol=GRADIENT, rtol=GRADIENT)
        assert not np.any(jax.grad(row.loss, argnums=1)(z1, jnp.asarray(z2)))
    else:
        check_grads(row.loss, (z1, z2), order=1, modes=['rev'], atol=GRADIENT, rtol=GRADIENT)


@each
def test_value_at_collapse(row):
    same = jnp.ones((8, 6))
    if row.collapse is not None:
        value = row.loss(same, same) if row.at_collapse is None else row.at_collapse(same)
        np.testing.assert_allclose(value, row.collapse(8, 6), rtol=FLOAT32, atol=FLOAT32)


def test_value_at_perfect_alignment(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    centred = orthogonal[:, 1:5] - orthogonal[:, 1:5].mean(0)
    decorrelated = np.linalg.qr(centred)[0] * 4
    assert float(losses.vicreg(decorrelated, decorrelated)) < 1e-12  # aligned, spread, uncorrelated
    spread = decorrelated * 100  # ε of the standardisation no longer shows
    assert float(losses.barlow_twins(spread, spread)) < 1e-12
    assert float(losses.ntxent(orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.info_nce(orthogonal[:4], orthogonal[:4], orthogonal[4:], temperature=0.01)) < 1e-12
    assert float(losses.info_nce_in_batch(orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.nnclr(orthogonal, orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.supcon(orthogonal, orthogonal, np.arange(8), temperature=0.01)) < 1e-12
    assert float(losses.debiased(orthogonal, orthogonal, temperature=0.01, positive_prior=0.0)) < 1e-12
    np.testing.assert_allclose(losses.decoupled(orthogonal, orthogonal), np.log(14) - 10, rtol=FLOAT64)
    assert float(losses.vibcreg(decorrelated, decorrelated)) < 1e-12
    assert float(losses.w_mse(decorrelated, decorrelated @ np.diag([1.0, 2.0, 3.0, 4.0]))) < 1e-12


@each
def test_invariances(row, x64):
    z1, z2 = views()
    base = row.loss(z1, z2)
    order = np.random.default_rng(2).permutation(len(z1))
    np.testing.assert_allclose(row.loss(z1[order], z2[order]), base, rtol=FLOAT64)
    if row.swap_free:
        np.testing.assert_allclose(row.loss(z2, z1), base, rtol=FLOAT64)
    if row.rotation_free:
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
        np.testing.assert_allclose(row.loss(z1 @ turn, z2 @ turn), base, rtol=FLOAT64)
    if row.scale_free:
        np.testing.assert_allclose(row.loss(3.0 * z1, 0.2 * z2), base, rtol=FLOAT64)


DEGENERATE = {
    'zeros': jnp.zeros((8, 6)),
    'duplicates': jnp.ones((8, 6)) * jnp.arange(6.0)[None],
    'one-hot': jnp.eye(8, 6),
    'huge': 1e18 * jnp.asarray(views(8, 6, np.float32)[0]),
    'tiny': 1e-18 * jnp.asarray(views(8, 6, np.float32)[0]),
    'bfloat16': jnp.asarray(views(8, 6, np.float32)[0], jnp.bfloat16),
}


@each
@pytest.mark.parametrize('z', DEGENERATE.values(), ids=DEGENERATE.keys())
def test_finite_at_degenerate_inputs(row, z, request):
    if 'huge' in request.node.name and not row.scale_free:
        z = z / 1e15  # squares of squares: 1e3 is huge for a loss that keeps the scale
    value, gradients = jax.value_and_grad(row.loss, argnums=(0, 1))(z, z[::-1])
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)


@each
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_a_row_of_zeros_gets_no_larger_gradient_than_others(row, dtype):
    z1, z2 = (np.array(z) for z in views(8, 6))
    z1[3] = z2[5] = 0  # one dead row in each view
    z1, z2 = jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)
    for gradient in jax.grad(row.loss, argnums=(0, 1))(z1, z2):
        sizes = np.linalg.norm(np.asarray(gradient, np.float32), axis=1)
        rest = np.delete(sizes, (3, 5)).max()
        assert (sizes[[3, 5]] <= 10 * rest + 1e-6).all(), sizes


@each
def test_half_precision_is_promoted(row):
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    half = row.loss(z1.astype(jnp.bfloat16), z2.astype(jnp.bfloat16))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, row.loss(z1, z2), rtol=BFLOAT16)


@each
def test_jit_equals_eager_with_one_trace(row):
    traces = []

    @jax.jit
    def compiled(z1, z2):
        traces.append(None)
        return row.loss(z1, z2)

    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    for shift in (0.0, 1.0):
        np.testing.assert_allclose(compiled(z1 + shift, z2), row.loss(z1 + shift, z2), rtol=FLOAT32)
    assert len(traces) == 1


def test_every_public_loss_is_tested_and_documented():
    masked = {
        'averaged_layers',
        'capi',
        'capi_targets',
        'dinosr',
        'hog',
        'masked_l1',
        'masked_mse',
        'masked_smooth_l1',
        'moved_codes',
        'nearest_codes',
        'standardize_tokens',
    }
    parts = {'sinkhorn', 'dino_centre', 'msn_targets', *masked}  # tested on their own
    names = {n for n in losses.__all__ if not n.endswith('_terms')} - parts
    assert names == {n.split(',')[0] for n in LOSSES}  # 'name, variant' is another row of `name`
    for name in losses.__all__:
        function = getattr(losses, name)
        for section in ('Args:', 'Returns:', 'References:'):
            assert section in function.__doc__, (name, section)
        for parameter in inspect.signature(function).parameters.values():
            arrays = (
                'z1', 'z2', 'query', 'key', 'queue', 'p', 'z', 'p1', 'p2', 'labels',
                'more', 'covariance', 'directions', 'scores', 'student', 'teacher', 'centre',
                'maps1', 'maps2', 'positions1', 'positions2', 'predictions', 'targets', 'hidden', 'counted',
                'tokens', 'layers', 'anchors', 'target', 'prototypes', 'images', 'sums', 'counts', 'codes',
            )  # fmt: skip
            assert parameter.name in arrays or parameter.kind == parameter.KEYWORD_ONLY, (name, parameter)
