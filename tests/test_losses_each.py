"""What single losses promise besides: dialects, terms, states, limits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
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
from loss_rows import LOSSES, views
from selfsup import losses
from tolerances import ALIGNED_GRADIENT, FLOAT32, FLOAT64, GOLDEN_FLOAT64


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


@pytest.mark.parametrize('name', ['vicreg', 'vibcreg', 'vicregl_local'])
def test_a_constant_column_gets_no_gradient_from_the_hinge_without_eps(name):
    z1, z2 = (jnp.asarray(z, jnp.float32).at[:, 2].set(0.5) for z in views(8, 6))
    gradient = jax.grad(partial(LOSSES[name].loss, eps=0.0))(z1, z2)
    assert np.isfinite(gradient).all()


def test_aligned_views(x64):
    for row in LOSSES.values():
        if row.aligned is not None:
            z = views()[0]
            np.testing.assert_allclose(row.loss(z, z), row.aligned(z), rtol=FLOAT64, atol=FLOAT64)


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


@pytest.mark.parametrize('name', CROSS_ENTROPIES)
def test_aligned_pairs_at_a_low_temperature(name):
    """The positive stands in its row of logits and apart from it: unless it is one number, the rest is rounding."""
    function = CROSS_ENTROPIES[name]
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(256, 256))
    z2 = z1 + 0.1 * rng.normal(size=z1.shape)
    one, two = (jnp.asarray(z, jnp.float32) for z in (z1, z2))
    value, gradient = jax.value_and_grad(function)(one, two)
    assert value >= 0 and function(one, one) >= 0
    with jax.enable_x64(True):
        wanted = np.asarray(jax.grad(function)(np.asarray(one, float), np.asarray(two, float)))
    assert np.abs(gradient - wanted).max() < ALIGNED_GRADIENT * np.abs(wanted).max()


def test_losses_that_generalise_ntxent_return_to_it(x64):
    z1, z2 = views()
    expected = losses.ntxent(z1, z2, temperature=0.3)
    unknown = np.full(len(z1), -1)
    np.testing.assert_allclose(losses.supcon(z1, z2, unknown, temperature=0.3), expected, rtol=FLOAT64)
    np.testing.assert_allclose(losses.supcon(z1, z2, unknown, temperature=0.3, sum_inside=True), expected, rtol=FLOAT64)
    plain = losses.debiased(z1, z2, temperature=0.3, positive_prior=0.0)
    np.testing.assert_allclose(plain, expected, rtol=FLOAT64)


def test_debiased_is_exact_at_a_low_temperature(x64):
    z1, z2 = views()
    for temperature in (0.02, 0.005):  # exp(1/τ) is 1e86 in the second, beyond float32
        exact = debiased_reference(z1, z2, temperature, concentration=1.0)
        single = (jnp.asarray(z, jnp.float32) for z in (z1, z2))
        value = losses.debiased(*single, temperature=temperature, concentration=1.0)
        np.testing.assert_allclose(value, exact, rtol=1e-4)


def test_debiased_negatives_get_no_gradient_at_the_floor(x64):
    """Aligned pairs among opposite negatives: corrected, the negatives' share would be below its floor."""
    z1 = jnp.asarray([[1.0, 0.0], [-1.0, 0.1]])
    z2 = z1 + jnp.asarray([[0.0, 0.1]])

    def at_the_floor(a):
        direction = a / jnp.linalg.norm(a, axis=1, keepdims=True)
        other = z2 / jnp.linalg.norm(z2, axis=1, keepdims=True)
        positive = jnp.exp(jnp.sum(direction * other, axis=1) / 0.5)
        return -jnp.mean(jnp.log(positive / (positive + 2 * jnp.exp(-1 / 0.5))))

    whole = jax.grad(lambda a: losses.debiased(a, z2, positive_prior=0.5))(z1)
    np.testing.assert_allclose(whole, jax.grad(at_the_floor)(z1), rtol=FLOAT64)


def test_weights_of_decoupled_may_be_stopped(x64):
    z1, z2 = views()
    free, stopped = (partial(losses.decoupled, sigma=0.5, stop_weights=stop) for stop in (False, True))
    np.testing.assert_allclose(free(z1, z2), stopped(z1, z2), rtol=FLOAT64)
    assert np.abs(jax.grad(free)(z1, z2) - jax.grad(stopped)(z1, z2)).max() > 1e-3


def test_simsiam_without_its_stop_gradient():
    z1, z2 = views()
    assert np.any(jax.grad(partial(losses.simsiam, stop_gradient=False), argnums=1)(z1, z2))


def test_nnclr_passes_no_gradient_to_the_queue():
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    assert not np.any(jax.grad(losses.nnclr, argnums=2)(z1, z2, jnp.asarray(QUEUE, jnp.float32)))


def test_golden_values_of_other_signatures(golden, x64):
    x, y = golden
    code = losses.sinkhorn(unit(x) @ unit(y[:5]).T)
    assert abs(float(jnp.sum(code**2)) - 14.3797625223) < GOLDEN_FLOAT64
    assert abs(float(losses.dino((x, y), (y, x), np.zeros(6))) - 0.1941507438) < GOLDEN_FLOAT64
    assert abs(float(losses.sigreg(x, np.eye(6))) - 0.600698838) < GOLDEN_FLOAT64
    x, y = (jnp.asarray(z, jnp.float32) for z in golden)
    code = losses.sinkhorn(jnp.matmul(unit(x), unit(y[:5]).T, precision='highest'))
    np.testing.assert_allclose(jnp.sum(code**2), 14.3797625223, rtol=FLOAT32)
    np.testing.assert_allclose(losses.dino((x, y), (y, x), jnp.zeros(6)), 0.1941507438, rtol=FLOAT32)
    np.testing.assert_allclose(losses.sigreg(x, jnp.eye(6)), 0.600698838, rtol=FLOAT32)


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
        value = losses.w_mse(z1, z2, z3, order=order, block=8, normalized=normalized)
        np.testing.assert_allclose(value, np.mean(expected), rtol=1e-9)


def test_w_mse_whitens_a_singular_block():
    z = jnp.asarray(views(16, 3)[0], jnp.float32)
    copied = jnp.concatenate([z, z], axis=1)  # rank 3 of 6
    value, gradient = jax.value_and_grad(losses.w_mse)(copied, copied[:, ::-1] + 0.1 * copied**2)
    assert 0 <= float(value) <= 4
    assert np.isfinite(gradient).all()


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
        value, wanted = (np.asarray(a) for a in jax.value_and_grad(losses.w_mse)(z1, z2))
    one, two = (jnp.asarray(z * scales, jnp.float32) for z in (z1, z2))
    scaled, gradient = jax.value_and_grad(losses.w_mse)(one, two)
    np.testing.assert_allclose(scaled, value, rtol=FLOAT32)
    gradient = np.asarray(gradient, float) * scales
    assert np.abs(gradient - wanted).max() < FLOAT32 * np.abs(wanted).max()


def test_w_mse_leaves_out_a_constant_column():
    z1, z2 = (np.array(z, np.float32) for z in views(32, 6))
    z1[:, 2], z2[:, 2] = 0.1, 0.3  # neither of which a mean in float32 need repeat
    value, gradient = jax.value_and_grad(losses.w_mse)(jnp.asarray(z1), jnp.asarray(z2))
    others = np.arange(6) != 2
    expected, wanted = jax.value_and_grad(losses.w_mse)(jnp.asarray(z1[:, others]), jnp.asarray(z2[:, others]))
    np.testing.assert_allclose(value, expected, rtol=1e-3)  # but for what is added to the variances
    np.testing.assert_allclose(gradient[:, others], wanted, atol=1e-3 * np.abs(wanted).max())
    assert not np.any(gradient[:, 2])


def test_tico_moves_its_covariance(x64):
    z1, z2 = views()
    moment = unit(z1).T @ unit(z1) / len(z1)
    _, new = losses.tico(z1, z2, COVARIANCE, beta=0.7)
    np.testing.assert_allclose(new, 0.7 * COVARIANCE + 0.3 * moment, rtol=FLOAT64)
    assert not np.any(jax.grad(lambda c: losses.tico(z1, z2, c)[0])(COVARIANCE))
    centred = losses.tico(z1, z2, COVARIANCE, centred=True)[0]
    np.testing.assert_allclose(centred, losses.tico(z1 - z1.mean(0), z2 - z2.mean(0), COVARIANCE)[0], rtol=FLOAT64)


@pytest.mark.parametrize('shape', [(12, 6), (4, 6)], ids=['feature form', 'sample form'])
def test_the_new_part_of_ticos_covariance_may_be_stopped(shape, x64):
    """The loss is then that of a fixed matrix, whose gradient has a closed form."""
    z1, z2 = (unit(z) for z in views(*shape))
    stopped = partial(losses.tico, beta=0.7, rho=3.0, stop_moment=True)
    value, new = stopped(z1, z2, COVARIANCE)
    np.testing.assert_allclose(value, losses.tico(z1, z2, COVARIANCE, beta=0.7, rho=3.0)[0], rtol=FLOAT64)
    fixed = 0.7 * COVARIANCE + 0.3 * z1.T @ z1 / len(z1)
    np.testing.assert_allclose(new, fixed, rtol=FLOAT64)
    outer = (6.0 * z1 @ fixed - z2) / len(z1)
    tangent = outer - np.sum(outer * z1, axis=1, keepdims=True) * z1  # rows are normalised within
    np.testing.assert_allclose(jax.grad(lambda z: stopped(z, z2, COVARIANCE)[0])(z1), tangent, atol=FLOAT64)


def test_mmcr_of_repeated_singular_values_and_many_views(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    gradient = jax.grad(losses.mmcr)(orthogonal, orthogonal)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(losses.mmcr(orthogonal, orthogonal), -8, rtol=FLOAT64)
    z1, z2 = views()
    check_grads(lambda a: losses.mmcr(a, z2, z1, lambd=0.3), (z1,), order=1, modes=['rev'], atol=1e-5, rtol=1e-5)
    centre = (2 * unit(z1) + unit(z2)) / 3
    expected = -np.linalg.svd(centre, compute_uv=False).sum()
    np.testing.assert_allclose(losses.mmcr(z1, z2, z1), expected, rtol=FLOAT64)


def test_sigreg_is_smallest_for_a_standard_normal():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(512, 6)), jnp.float32)
    directions = jnp.asarray(QUEUE, jnp.float32)
    normal = float(losses.sigreg(z, directions))
    assert normal < 2  # of order 1 whatever the size of the sample
    for other in (0.5 * z, 2 * z, z + 1, jnp.sign(z), z * jnp.arange(6.0)[None]):
        assert float(losses.sigreg(other, directions)) > 3 * normal


def test_lejepa_may_be_drawn_to_the_global_views_alone(x64):
    z1, z2 = views()
    terms = losses.lejepa_terms(z1, z2, z1 + z2, directions=QUEUE, centres=2)
    centre = (z1 + z2) / 2
    expected = np.mean([(z - centre) ** 2 for z in (z1, z2, z1 + z2)])
    np.testing.assert_allclose(terms['invariance'], expected, rtol=FLOAT64)


def test_sinkhorn_balances_and_ignores_rows_that_do_not_count(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    code = np.asarray(losses.sinkhorn(scores, iterations=500))
    np.testing.assert_allclose(code.sum(1), 1, rtol=FLOAT64)
    np.testing.assert_allclose(code.sum(0), 3, rtol=1e-6)
    valid = np.arange(12) % 3 != 0
    part = losses.sinkhorn(scores, valid=valid)
    np.testing.assert_allclose(np.asarray(part)[valid], losses.sinkhorn(scores[valid]), rtol=FLOAT64)
    far = losses.sinkhorn(jnp.asarray(100 * scores, jnp.float32))  # exp(2000) is beyond any float
    assert np.isfinite(far).all()


def test_no_iteration_of_sinkhorn_is_a_softmax(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    expected = np.exp(scores / 0.05 - log_sum_exp(scores / 0.05)[:, None])
    np.testing.assert_allclose(losses.sinkhorn(scores, iterations=0), expected, rtol=FLOAT64)
    z1, z2 = views()
    prototypes = unit(QUEUE[:7])
    value = losses.swav(z1, z2, prototypes=prototypes, assign=1, iterations=0, epsilon=0.2)
    code, logits = unit(z1) @ prototypes.T / 0.2, unit(z2) @ prototypes.T / 0.1
    code = np.exp(code - log_sum_exp(code)[:, None])
    expected = -np.mean(np.sum(code * (logits - log_sum_exp(logits)[:, None]), axis=1))
    np.testing.assert_allclose(value, expected, rtol=FLOAT64)


def test_swav_averages_pairs_and_takes_the_queue_along(x64):
    z1, z2 = views()
    z3, prototypes = z1 - z2, unit(QUEUE[:7])
    one = partial(losses.swav, prototypes=prototypes, assign=1)
    expected = np.mean([one(z1, z2), one(z1, z3), one(z2, z1), one(z2, z3)])
    np.testing.assert_allclose(losses.swav(z1, z2, z3, prototypes=prototypes), expected, rtol=FLOAT64)
    queue = unit(np.random.default_rng(5).normal(size=(8, 6)))[None]
    empty = one(z1, z2, queue=queue, queue_valid=False)
    np.testing.assert_allclose(empty, one(z1, z2), rtol=FLOAT64)
    code = losses.sinkhorn(np.concatenate([queue[0], unit(z1)]) @ prototypes.T)[8:]
    logits = unit(z2) @ prototypes.T / 0.1
    full = -np.mean(np.sum(np.asarray(code) * (logits - log_sum_exp(logits)[:, None]), axis=1))
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
    np.testing.assert_allclose(losses.dino(list(student), list(teacher), centre), np.mean(expected), rtol=FLOAT64)
    new = losses.dino_centre(centre, list(teacher), rate=0.8)
    np.testing.assert_allclose(new, 0.8 * centre + 0.2 * teacher.mean((0, 1)), rtol=FLOAT64)


def test_deepcluster_leaves_out_what_has_no_cluster(x64):
    z = views()[0]
    prototypes, clusters = centroids(6).astype(float), np.random.default_rng(8).integers(0, 5, size=(12, 2))
    some = clusters.copy()
    some[6:] = -1
    value = losses.deepcluster(z, prototypes=prototypes, assignments=some)
    part = losses.deepcluster(z[:6], prototypes=prototypes, assignments=clusters[:6])
    np.testing.assert_allclose(value, part, rtol=FLOAT64)
    assert float(losses.deepcluster(z, prototypes=prototypes, assignments=np.full((12, 2), -1))) == 0
    passed = jax.grad(lambda p: losses.deepcluster(z, prototypes=p, assignments=clusters))(prototypes)
    assert not np.any(passed)


def test_vicregl_keeps_matched_places_in_the_order_of_the_map(x64):
    """Every example has its own crops, so the nearest places are others in each of them."""
    rng = np.random.default_rng(9)
    grids = [np.stack(np.meshgrid(np.arange(s), np.arange(s), indexing='ij'), -1).reshape(-1, 2) for s in (4, 3)]
    maps = [rng.normal(size=(8, len(g), 5)) + np.linspace(-2, 2, len(g))[:, None] for g in grids]
    places = [30.0 * rng.uniform(0.5, 2, (8, 1, 2)) * g + rng.uniform(0, 60, (8, 1, 2)) for g in grids]
    value = losses.vicregl_local(*maps, *places, matches=(7, 3))
    np.testing.assert_allclose(value, vicregl_maps_reference(maps, places, (7, 3)), rtol=FLOAT64)


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
