"""Every loss through the same rows. A new loss is a new entry of LOSSES."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from selfsup import losses
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def log_sum_exp(x, axis=-1):
    top = x.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def barlow_reference(z1, z2, lambd=5.1e-3):
    n, d = z1.shape
    z1, z2 = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z1, z2))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = np.dot(z1[:, i], z2[:, j]) / n
            total += (c - 1) ** 2 if i == j else lambd * c**2
    return total


def vicreg_reference(z1, z2):
    n, d = z1.shape
    total = 25 * np.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4))) / 2
        covariance = np.cov(z, rowvar=False)
        total += np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / d
    return total


def ntxent_reference(z1, z2, temperature=0.1):
    z = unit(np.concatenate([z1, z2]))
    n = len(z1)
    total = 0.0
    for i in range(2 * n):
        others = [j for j in range(2 * n) if j != i]
        logits = np.array([z[i] @ z[j] for j in others]) / temperature
        total += log_sum_exp(logits) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return total / (2 * n)


QUEUE = np.random.default_rng(7).normal(size=(24, 6))


def info_nce(z1, z2, **kwargs):
    queue = jnp.asarray(QUEUE[:, : np.shape(z1)[1]], dtype=jnp.result_type(z1))
    return losses.info_nce(z1, z2, queue, **kwargs)


def info_nce_reference(z1, z2, temperature=0.2):
    total = 0.0
    for q, k in zip(unit(z1), unit(z2), strict=True):
        logits = np.array([q @ k, *[q @ row for row in unit(QUEUE)]]) / temperature
        total += log_sum_exp(logits) - logits[0]
    return total / len(z1)


class Row(NamedTuple):
    """What is known of a loss of two views."""

    loss: Callable
    reference: Callable
    golden: tuple[dict, float] | None  # keywords, value on the golden inputs
    collapse: Callable  # (n, d) -> value when every embedding is the same
    aligned: Callable | None  # (z) -> value for two equal views, where it has a closed form
    scale_free: bool  # unchanged when a view is multiplied by a constant
    rotation_free: bool  # unchanged when both views are rotated alike
    swap_free: bool  # unchanged when the views change places


LOSSES = {
    'barlow_twins': Row(
        losses.barlow_twins, barlow_reference, ({}, 0.0200166120), lambda n, d: d, None, False, False, True
    ),
    'vicreg': Row(
        losses.vicreg, vicreg_reference, ({}, 8.3672975509), lambda n, d: 25 * (1 - 0.01), None, False, False, True
    ),
    'ntxent': Row(
        losses.ntxent,
        ntxent_reference,
        ({'temperature': 0.5}, 1.8772075433),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'info_nce': Row(info_nce, info_nce_reference, None, None, None, True, False, False),
}
each = pytest.mark.parametrize('row', LOSSES.values(), ids=LOSSES.keys())


def views(n=12, d=6, dtype=np.float64):
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(n, d))
    return z1.astype(dtype), (z1 + 0.5 * rng.normal(size=(n, d))).astype(dtype)


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
    check_grads(row.loss, views(6, 4), order=1, modes=['rev'], atol=GRADIENT, rtol=GRADIENT)


@each
def test_value_at_collapse(row):
    same = jnp.ones((8, 6))
    if row.collapse is None:
        queue = jnp.ones((5, 6))
        np.testing.assert_allclose(losses.info_nce(same, same, queue), np.log(6), rtol=FLOAT32)
    else:
        np.testing.assert_allclose(row.loss(same, same), row.collapse(8, 6), rtol=FLOAT32)


def test_value_at_perfect_alignment(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    centred = orthogonal[:, 1:5] - orthogonal[:, 1:5].mean(0)
    decorrelated = np.linalg.qr(centred)[0] * 4
    assert float(losses.vicreg(decorrelated, decorrelated)) < 1e-12  # aligned, spread, uncorrelated
    spread = decorrelated * 100  # ε of the standardisation no longer shows
    assert float(losses.barlow_twins(spread, spread)) < 1e-12
    assert float(losses.ntxent(orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.info_nce(orthogonal[:4], orthogonal[:4], orthogonal[4:], temperature=0.01)) < 1e-12


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


def test_hyper_parameters_may_be_traced():
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    temperatures = jnp.array([0.1, 0.5])
    many = jax.vmap(lambda t: losses.ntxent(z1, z2, temperature=t))(temperatures)
    for value, temperature in zip(many, (0.1, 0.5), strict=True):
        np.testing.assert_allclose(value, losses.ntxent(z1, z2, temperature=temperature), rtol=FLOAT32)


def test_ntxent_equals_optax(x64):
    z1, z2 = views()
    labels = np.tile(np.arange(len(z1)), 2)
    outside = optax.losses.ntxent(np.concatenate([z1, z2]), labels, temperature=0.3)
    np.testing.assert_allclose(losses.ntxent(z1, z2, temperature=0.3), outside, rtol=1e-6)


def test_terms_add_up(x64):
    z1, z2 = views()
    parts = losses.barlow_twins_terms(z1, z2)
    total = parts['on_diagonal'] + 0.01 * parts['off_diagonal']
    np.testing.assert_allclose(losses.barlow_twins(z1, z2, lambd=0.01), total, rtol=FLOAT64)
    np.testing.assert_allclose(losses.barlow_twins(z1, z2, lambd=0.01, scale=0.1), 0.1 * total, rtol=FLOAT64)


def test_vicreg_parts_and_dialect(golden, x64):
    parts = losses.vicreg_terms(*golden)
    expected = {'invariance': 0.0451698298, 'variance': 0.2835962905, 'covariance': 0.1481445408}
    for name, value in expected.items():
        assert abs(float(parts[name]) - value) < GOLDEN_FLOAT64
    # solo-learn sums the views' hinges, so its weight 25 is 50 here.
    solo = losses.vicreg(*golden, halve_variance=False)
    np.testing.assert_allclose(solo, losses.vicreg(*golden, variance_weight=50.0), rtol=FLOAT64)


BAD = {
    'other batch': (lambda: losses.vicreg(jnp.ones((4, 3)), jnp.ones((5, 3))), ['z1', 'z2', '[4, 3]', '[5, 3]']),
    'other width': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 2))), ['[4, 3]', '[4, 2]']),
    'one row': (lambda: losses.barlow_twins(jnp.ones((1, 3)), jnp.ones((1, 3))), ['z1', '2 row', '[1, 3]']),
    'empty': (lambda: losses.ntxent(jnp.ones((0, 3)), jnp.ones((0, 3))), ['z1', '[0, 3]']),
    'rank': (lambda: losses.ntxent(jnp.ones((2, 2, 3)), jnp.ones((2, 2, 3))), ['z1', '[2, 2, 3]']),
    'integers': (lambda: losses.ntxent(jnp.ones((4, 3), int), jnp.ones((4, 3))), ['z1', 'int']),
    'temperature': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 3)), temperature=0.0), ['temperature', '0.0']),
    'queue width': (
        lambda: losses.info_nce(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
}


@pytest.mark.parametrize('call, words', BAD.values(), ids=BAD.keys())
def test_bad_input_is_named(call, words, own_checks):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_every_public_loss_is_tested_and_documented():
    names = {n for n in losses.__all__ if not n.endswith('_terms')}
    assert names == set(LOSSES)
    for name in losses.__all__:
        function = getattr(losses, name)
        for section in ('Args:', 'Returns:', 'References:'):
            assert section in function.__doc__, (name, section)
        for parameter in inspect.signature(function).parameters.values():
            arrays = ('z1', 'z2', 'query', 'key', 'queue')
            assert parameter.name in arrays or parameter.kind == parameter.KEYWORD_ONLY, (name, parameter)
