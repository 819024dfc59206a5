"""What single losses promise besides: dialects, terms, states, limits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from jax.test_util import check_grads
from loss_references import (
    COVARIANCE,
    QUEUE,
    centroids,
    debiased_reference,
    log_sum_exp,
    unit,
    vicregl_maps_reference,
    whitened,
)
from loss_rows import LOSSES, value, views
from programs import compiled, with_gradients
from selfsup import losses
from tolerances import ALIGNED_GRADIENT, FLOAT32, FLOAT64, GOLDEN_FLOAT64


def test_hyper_parameters_may_be_traced():
    pair = views(dtype=np.float32)
    temperatures = np.array([0.1, 0.5], np.float32)
    many = jax.jit(jax.vmap(lambda t: losses.ntxent(*pair, temperature=t)))(temperatures)
    for found, temperature in zip(np.asarray(many), (0.1, 0.5), strict=True):
        np.testing.assert_allclose(found, compiled(losses.ntxent, temperature=temperature)(*pair), rtol=FLOAT32)


def test_ntxent_equals_optax(x64):
    z1, z2 = views()
    labels = np.tile(np.arange(len(z1)), 2)
    outside = jax.jit(optax.losses.ntxent)(np.concatenate([z1, z2]), labels, temperature=0.3)
    np.testing.assert_allclose(compiled(losses.ntxent, temperature=0.3)(z1, z2), outside, rtol=1e-6)


def test_terms_add_up(x64):
    z1, z2 = views()
    parts = compiled(losses.barlow_twins_terms)(z1, z2)
    total = float(parts['on_diagonal']) + 0.01 * float(parts['off_diagonal'])
    scaled = jax.jit(losses.barlow_twins)
    np.testing.assert_allclose(scaled(z1, z2, lambd=0.01, scale=1.0), total, rtol=FLOAT64)
    np.testing.assert_allclose(scaled(z1, z2, lambd=0.01, scale=0.1), 0.1 * total, rtol=FLOAT64)


def test_vicreg_parts_and_dialect(golden, x64):
    parts = compiled(losses.vicreg_terms)(*golden)
    expected = {'invariance': 0.0451698298, 'variance': 0.2835962905, 'covariance': 0.1481445408}
    for name, part in expected.items():
        assert abs(float(parts[name]) - part) < GOLDEN_FLOAT64
    # solo-learn sums the views' hinges, so its weight 25 is 50 here.
    solo = compiled(losses.vicreg, halve_variance=False)(*golden)
    np.testing.assert_allclose(solo, compiled(losses.vicreg, variance_weight=50.0)(*golden), rtol=FLOAT64)


@pytest.mark.parametrize('name', ['vicreg', 'vibcreg', 'vicregl_local'])
def test_a_constant_column_gets_no_gradient_from_the_hinge_without_eps(name):
    z1, z2 = views(8, 6, np.float32)
    z1[:, 2] = z2[:, 2] = 0.5
    _, gradients = with_gradients(LOSSES[name].loss, eps=0.0)(z1, z2)
    assert np.isfinite(gradients).all()


def test_aligned_views(x64):
    for row in LOSSES.values():
        if row.aligned is not None:
            z = views()[0]
            np.testing.assert_allclose(value(row.loss, z, z), row.aligned(z), rtol=FLOAT64, atol=FLOAT64)


# Losses that say of themselves that they are never negative, at a low temperature.
CROSS_ENTROPIES = {
    'ntxent': partial(losses.ntxent, temperature=0.07),
    'info_nce': lambda a, b: losses.info_nce(a, b, -b, temperature=0.07),
    'info_nce_in_batch': partial(losses.info_nce_in_batch, temperature=0.07),
    'moco_v3': partial(losses.moco_v3, temperature=0.07),
    'nnclr': lambda p, z: losses.nnclr(p, z, z, temperature=0.07),
    'supcon': lambda a, b: losses.supcon(a, b, np.arange(len(a)), temperature=0.07),
    'debiased': partial(losses.debiased, temperature=0.07, positive_prior=0.0),
    'ressl': lambda a, b: losses.ressl(a, b, b, temperature=0.07, teacher_temperature=0.007),
    'swav': lambda a, b: losses.swav(a, b, prototypes=b[:64] / jnp.linalg.norm(b[:64], axis=1)[:, None], temperature=0.01),
    'dino': lambda a, b: losses.dino([30 * a, 30 * a], [30 * b, 30 * b], jnp.zeros(b.shape[1], b.dtype)),
    'deepcluster': lambda a, b: losses.deepcluster(
        a,
        prototypes=(b / jnp.linalg.norm(b, axis=1)[:, None])[None],
        assignments=jnp.arange(len(b))[:, None],
        temperature=0.07,
    ),
}  # fmt: skip


@small.each(CROSS_ENTROPIES, quick=('debiased', 'swav'))
def test_aligned_pairs_at_a_low_temperature(name):
    """The positive stands in its row of logits and apart from it: unless it is one number, the rest is rounding."""
    function = CROSS_ENTROPIES[name]
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(256, 256))
    z2 = z1 + 0.1 * rng.normal(size=z1.shape)
    one, two = z1.astype(np.float32), z2.astype(np.float32)
    both = jax.jit(jax.value_and_grad(function))
    found, gradient = both(one, two)
    assert found >= 0 and both(one, one)[0] >= 0
    with jax.enable_x64(True):
        wanted = np.asarray(both(one.astype(float), two.astype(float))[1])
    assert np.abs(gradient - wanted).max() < ALIGNED_GRADIENT * np.abs(wanted).max()


def test_losses_that_generalise_ntxent_return_to_it(x64):
    z1, z2 = views()
    expected = compiled(losses.ntxent, temperature=0.3)(z1, z2)
    unknown = np.full(len(z1), -1)
    for fields in ({}, {'sum_inside': True}):
        found = compiled(losses.supcon, temperature=0.3, **fields)(z1, z2, unknown)
        np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    plain = compiled(losses.debiased, temperature=0.3, positive_prior=0.0)(z1, z2)
    np.testing.assert_allclose(plain, expected, rtol=FLOAT64)


def test_debiased_is_exact_at_a_low_temperature(x64):
    z1, z2 = views()
    for temperature in (0.02, 0.005):  # exp(1/τ) is 1e86 in the second, beyond float32
        exact = debiased_reference(z1, z2, temperature, concentration=1.0)
        single = (z.astype(np.float32) for z in (z1, z2))
        found = compiled(losses.debiased, temperature=temperature, concentration=1.0)(*single)
        np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_debiased_negatives_get_no_gradient_at_the_floor(x64):
    """Aligned pairs among opposite negatives: corrected, the negatives' share would be below its floor."""
    z1 = np.asarray([[1.0, 0.0], [-1.0, 0.1]])
    z2 = z1 + np.asarray([[0.0, 0.1]])

    def at_the_floor(a):
        direction = a / jnp.linalg.norm(a, axis=1, keepdims=True)
        other = unit(z2)
        positive = jnp.exp(jnp.sum(direction * other, axis=1) / 0.5)
        return -jnp.mean(jnp.log(positive / (positive + 2 * jnp.exp(-1 / 0.5))))

    whole = with_gradients(losses.debiased, positive_prior=0.5)(z1, z2)[1][0]
    np.testing.assert_allclose(whole, jax.jit(jax.grad(at_the_floor))(z1), rtol=FLOAT64, atol=1e-15)


def test_weights_of_decoupled_may_be_stopped(x64):
    z1, z2 = views()
    found = [with_gradients(losses.decoupled, sigma=0.5, stop_weights=stop)(z1, z2) for stop in (False, True)]
    (free, gradient), (stopped, other) = ((total, np.asarray(gradients[0])) for total, gradients in found)
    np.testing.assert_allclose(free, stopped, rtol=FLOAT64)
    assert np.abs(gradient - other).max() > 1e-3


def test_simsiam_without_its_stop_gradient():
    z1, z2 = views()
    assert np.any(with_gradients(losses.simsiam, stop_gradient=False)(z1, z2)[1][1])


def test_nnclr_passes_no_gradient_to_the_queue():
    z1, z2 = views(dtype=np.float32)
    assert not np.any(jax.jit(jax.grad(losses.nnclr, argnums=2))(z1, z2, QUEUE.astype(np.float32)))


def test_golden_values_of_other_signatures(golden, x64):
    x, y = golden
    for dtype, tolerance in ((np.float64, {'rtol': 0, 'atol': GOLDEN_FLOAT64}), (np.float32, {'rtol': FLOAT32})):
        scores, (x, y), eye = (unit(x) @ unit(y[:5]).T).astype(dtype), (z.astype(dtype) for z in golden), np.eye(6)
        code = np.asarray(compiled(losses.sinkhorn)(scores))
        np.testing.assert_allclose(np.sum(code**2), 14.3797625223, **tolerance)
        dino = compiled(losses.dino)((x, y), (y, x), np.zeros(6, dtype))
        np.testing.assert_allclose(dino, 0.1941507438, **tolerance)
        np.testing.assert_allclose(compiled(losses.sigreg)(x, eye.astype(dtype)), 0.600698838, **tolerance)


def test_w_mse_blocks_are_shared_by_the_views_and_pairs_are_averaged(x64):
    z1, z2 = views(24, 4)
    z3 = z2[:, ::-1] + z1
    order = np.stack([np.random.default_rng(s).permutation(24) for s in range(2)])
    for normalized in (True, False):
        expected = []
        for rows in order.reshape(2, 3, 8).reshape(6, 8):
            w = [whitened(z[rows], 0.0) for z in (z1, z2, z3)]
            w = [unit(x) for x in w] if normalized else w
            share = 1 if normalized else 4
            expected += [np.mean(np.sum((w[i] - w[j]) ** 2, 1)) / share for i, j in ((0, 1), (0, 2), (1, 2))]
        found = compiled(losses.w_mse, block=8, normalized=normalized)(z1, z2, z3, order=order)
        np.testing.assert_allclose(found, np.mean(expected), rtol=1e-9)


def test_w_mse_whitens_a_singular_block():
    copied = np.tile(views(16, 3, np.float32)[0], 2)  # rank 3 of 6
    found, gradients = with_gradients(losses.w_mse)(copied, copied[:, ::-1] + np.float32(0.1) * copied**2)
    assert 0 <= float(found) <= 4
    assert np.isfinite(gradients).all()


SCALES = {
    'four decades': np.logspace(0, -4, 6),
    'twenty decades': np.logspace(10, -10, 6),
    'rising': np.logspace(-4, 0, 6),
}


@pytest.mark.parametrize('scales', SCALES.values(), ids=SCALES.keys())
def test_w_mse_forgets_the_scale_of_each_column(scales):
    """So scaled columns have the same loss, and gradients divided by their scales, in float32 too."""
    z1, z2 = views(32, 6)
    with jax.enable_x64(True):
        expected, (wanted, _) = with_gradients(losses.w_mse)(z1, z2)
    one, two = ((z * scales).astype(np.float32) for z in (z1, z2))
    scaled, (gradient, _) = with_gradients(losses.w_mse)(one, two)
    np.testing.assert_allclose(scaled, expected, rtol=FLOAT32)
    gradient = np.asarray(gradient, float) * scales
    assert np.abs(gradient - np.asarray(wanted)).max() < FLOAT32 * np.abs(wanted).max()


def test_w_mse_leaves_out_a_constant_column():
    z1, z2 = (np.array(z, np.float32) for z in views(32, 6))
    z1[:, 2], z2[:, 2] = 0.1, 0.3  # neither of which a mean in float32 need repeat
    found, (gradient, _) = with_gradients(losses.w_mse)(z1, z2)
    gradient, others = np.asarray(gradient), np.arange(6) != 2
    expected, (wanted, _) = with_gradients(losses.w_mse)(z1[:, others], z2[:, others])
    np.testing.assert_allclose(found, expected, rtol=1e-3)  # but for what is added to the variances
    np.testing.assert_allclose(gradient[:, others], wanted, atol=1e-3 * np.abs(wanted).max())
    assert not np.any(gradient[:, 2])


def test_tico_moves_its_covariance(x64):
    z1, z2 = views()
    moment = unit(z1).T @ unit(z1) / len(z1)
    _, new = compiled(losses.tico, beta=0.7)(z1, z2, COVARIANCE)
    np.testing.assert_allclose(new, 0.7 * COVARIANCE + 0.3 * moment, rtol=FLOAT64)
    value_and_slope = jax.jit(jax.value_and_grad(lambda z1, z2, c: losses.tico(z1, z2, c)[0], argnums=2))
    expected, slope = value_and_slope(z1 - z1.mean(0), z2 - z2.mean(0), COVARIANCE)
    assert not np.any(slope)
    centred, _ = compiled(losses.tico, centred=True)(z1, z2, COVARIANCE)
    np.testing.assert_allclose(centred, expected, rtol=FLOAT64)


@pytest.mark.parametrize('shape', [(12, 6), (4, 6)], ids=['feature form', 'sample form'])
def test_the_new_part_of_ticos_covariance_may_be_stopped(shape, x64):
    """The loss is then that of a fixed matrix, whose gradient has a closed form."""
    z1, z2 = (unit(z) for z in views(*shape))
    stopped = partial(losses.tico, beta=0.7, rho=3.0, stop_moment=True)
    (found, new), gradient = jax.jit(jax.value_and_grad(stopped, has_aux=True))(z1, z2, COVARIANCE)
    free, _ = compiled(losses.tico, beta=0.7, rho=3.0)(z1, z2, COVARIANCE)
    np.testing.assert_allclose(found, free, rtol=FLOAT64)
    fixed = 0.7 * COVARIANCE + 0.3 * z1.T @ z1 / len(z1)
    np.testing.assert_allclose(new, fixed, rtol=FLOAT64)
    outer = (6.0 * z1 @ fixed - z2) / len(z1)
    tangent = outer - np.sum(outer * z1, axis=1, keepdims=True) * z1  # rows are normalised within
    np.testing.assert_allclose(gradient, tangent, atol=FLOAT64)


def test_mmcr_of_repeated_singular_values_and_many_views(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    found, gradients = with_gradients(losses.mmcr)(orthogonal, orthogonal)
    assert np.isfinite(gradients).all()
    np.testing.assert_allclose(found, -8, rtol=FLOAT64)
    z1, z2 = views()
    whole = jax.jit(partial(losses.mmcr, lambd=0.3))
    check_grads(lambda a: whole(a, z2, z1), (z1,), order=1, modes=['rev'], atol=1e-5, rtol=1e-5)
    centre = (2 * unit(z1) + unit(z2)) / 3
    expected = -np.linalg.svd(centre, compute_uv=False).sum()
    np.testing.assert_allclose(compiled(losses.mmcr)(z1, z2, z1), expected, rtol=FLOAT64)


def test_sigreg_is_smallest_for_a_standard_normal():
    z = np.random.default_rng(0).normal(size=(512, 6)).astype(np.float32)
    directions = QUEUE.astype(np.float32)
    normal = float(compiled(losses.sigreg)(z, directions))
    assert normal < 2  # of order 1 whatever the size of the sample
    for other in (0.5 * z, 2 * z, z + 1, np.sign(z), z * np.arange(6, dtype=np.float32)):
        assert float(compiled(losses.sigreg)(other, directions)) > 3 * normal


def test_lejepa_may_be_drawn_to_the_global_views_alone(x64):
    z1, z2 = views()
    terms = compiled(losses.lejepa_terms, centres=2)(z1, z2, z1 + z2, directions=QUEUE)
    centre = (z1 + z2) / 2
    expected = np.mean([(z - centre) ** 2 for z in (z1, z2, z1 + z2)])
    np.testing.assert_allclose(terms['invariance'], expected, rtol=FLOAT64)


def test_sinkhorn_balances_and_ignores_rows_that_do_not_count(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    code = np.asarray(losses.sinkhorn(scores, iterations=500))  # as a program it would be of 500 iterations' length
    np.testing.assert_allclose(code.sum(1), 1, rtol=FLOAT64)
    np.testing.assert_allclose(code.sum(0), 3, rtol=1e-6)
    valid = np.arange(12) % 3 != 0
    balanced = compiled(losses.sinkhorn)
    part = balanced(scores, valid=valid)
    np.testing.assert_allclose(np.asarray(part)[valid], balanced(scores[valid]), rtol=FLOAT64)
    far = balanced((100 * scores).astype(np.float32))  # exp(2000) is beyond any float
    assert np.isfinite(far).all()


def test_no_iteration_of_sinkhorn_is_a_softmax(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    expected = np.exp(scores / 0.05 - log_sum_exp(scores / 0.05)[:, None])
    np.testing.assert_allclose(compiled(losses.sinkhorn, iterations=0)(scores), expected, rtol=FLOAT64)
    z1, z2 = views()
    prototypes = unit(QUEUE[:7])
    found = compiled(losses.swav, assign=1, iterations=0, epsilon=0.2)(z1, z2, prototypes=prototypes)
    code, logits = unit(z1) @ prototypes.T / 0.2, unit(z2) @ prototypes.T / 0.1
    code = np.exp(code - log_sum_exp(code)[:, None])
    expected = -np.mean(np.sum(code * (logits - log_sum_exp(logits)[:, None]), axis=1))
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)


def test_swav_averages_pairs_and_takes_the_queue_along(x64):
    z1, z2 = views()
    z3, prototypes = z1 - z2, unit(QUEUE[:7])
    one = partial(compiled(losses.swav, assign=1), prototypes=prototypes)
    expected = np.mean([one(z1, z2), one(z1, z3), one(z2, z1), one(z2, z3)])
    np.testing.assert_allclose(compiled(losses.swav)(z1, z2, z3, prototypes=prototypes), expected, rtol=FLOAT64)
    queue = unit(np.random.default_rng(5).normal(size=(8, 6)))[None]
    empty = one(z1, z2, queue=queue, queue_valid=False)
    np.testing.assert_allclose(empty, one(z1, z2), rtol=FLOAT64)
    code = np.asarray(compiled(losses.sinkhorn)(np.concatenate([queue[0], unit(z1)]) @ prototypes.T))[8:]
    logits = unit(z2) @ prototypes.T / 0.1
    full = -np.mean(np.sum(code * (logits - log_sum_exp(logits)[:, None]), axis=1))
    np.testing.assert_allclose(one(z1, z2, queue=queue), full, rtol=FLOAT64)


def test_dino_pairs_every_crop_with_the_other_global_ones(x64):
    rng = np.random.default_rng(6)
    student, teacher, centre = rng.normal(size=(4, 5, 7)), rng.normal(size=(2, 5, 7)), rng.normal(size=7)
    expected = []
    for i, t in enumerate((teacher - centre) / 0.04):
        target = np.exp(t - log_sum_exp(t)[:, None])
        for v, s in enumerate(student / 0.1):
            if v != i:
                expected.append(-np.mean(np.sum(target * (s - log_sum_exp(s)[:, None]), axis=1)))
    found = compiled(losses.dino)(list(student), list(teacher), centre)
    np.testing.assert_allclose(found, np.mean(expected), rtol=FLOAT64)
    new = compiled(losses.dino_centre, rate=0.8)(centre, list(teacher))
    np.testing.assert_allclose(new, 0.8 * centre + 0.2 * teacher.mean((0, 1)), rtol=FLOAT64)


def test_deepcluster_leaves_out_what_has_no_cluster(x64):
    z = views(12)[0]
    prototypes, clusters = centroids(6).astype(float), np.random.default_rng(8).integers(0, 5, size=(12, 2))
    some = clusters.copy()
    some[6:] = -1
    loss = jax.jit(jax.value_and_grad(lambda p, z, own: losses.deepcluster(z, prototypes=p, assignments=own)))
    part, _ = loss(prototypes, z[:6], clusters[:6])
    np.testing.assert_allclose(loss(prototypes, z, some)[0], part, rtol=FLOAT64)
    assert float(loss(prototypes, z, np.full((12, 2), -1))[0]) == 0
    assert not np.any(loss(prototypes, z, clusters)[1])


def test_vicregl_keeps_matched_places_in_the_order_of_the_map(x64):
    """Every example has its own crops, so the nearest places are others in each of them."""
    rng = np.random.default_rng(9)
    grids = [np.stack(np.meshgrid(np.arange(s), np.arange(s), indexing='ij'), -1).reshape(-1, 2) for s in (4, 3)]
    maps = [rng.normal(size=(8, len(g), 5)) + np.linspace(-2, 2, len(g))[:, None] for g in grids]
    places = [30.0 * rng.uniform(0.5, 2, (8, 1, 2)) * g + rng.uniform(0, 60, (8, 1, 2)) for g in grids]
    found = compiled(losses.vicregl_local, matches=(7, 3))(*maps, *places)
    np.testing.assert_allclose(found, vicregl_maps_reference(maps, places, (7, 3)), rtol=FLOAT64)


SIZES = [(2**17, 6), (2048, 8192), (2**17, 2**16), (256, 2**17)]


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize(
    'name', ['barlow_twins', 'vicreg', 'vibcreg', 'ntxent', 'mmcr', 'decoupled', 'debiased', 'moco_v3']
)
def test_large_batches_and_dims_can_be_traced(name, size):
    """A product of two Python counts may not fit the 32 bits that a constant has: VICReg's own 2048 x 8192 did not."""
    view = jax.ShapeDtypeStruct(size, jnp.float32)
    assert jax.eval_shape(getattr(losses, name), view, view).shape == ()


def test_large_batches_of_every_row_can_be_traced():
    view = jax.ShapeDtypeStruct((2**17, 6), jnp.float32)
    for name, row in LOSSES.items():
        assert jax.eval_shape(row.loss, view, view).shape == (), name
