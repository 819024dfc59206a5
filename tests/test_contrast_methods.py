"""What the further contrastive methods promise beyond the table: what they compare, when queues move, their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loss_references import QUEUE, unit
from programs import losses
from test_method_contracts import KEY, begun, one_step, zero
from tolerances import FLOAT32, FLOAT64


def test_the_nearest_row_is_that_of_the_largest_cosine_and_gets_no_gradient(x64):
    z = np.random.default_rng(1).normal(size=(5, 6))
    found = losses.nearest(z, QUEUE)
    np.testing.assert_allclose(found, unit(QUEUE)[np.argmax(unit(z) @ unit(QUEUE).T, axis=1)], rtol=FLOAT64)
    assert zero(jax.grad(lambda a, b: jnp.sum(losses.nearest(a, b)), argnums=(0, 1))(z, QUEUE))


def test_nnsiam_points_at_neighbours_in_the_queue_as_it_was():
    method, rows, params, extra = begun('nnsiam')
    value, outputs, before, after, _ = one_step(method, rows, params, extra)
    (z1, z2), (p1, p2) = outputs['embeddings'], outputs['predictions']
    near = [unit(np.asarray(losses.nearest(z, before['queue']))) for z in (z1, z2)]
    expected = -np.mean((unit(p1) * near[1]).sum(1) + (unit(p2) * near[0]).sum(1)) / 2
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    np.testing.assert_allclose(after['queue'][:16], unit(z1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(after['queue'][16:], before['queue'][16:])


def test_nnbyol_points_at_neighbours_of_targets_which_enter_its_queue():
    method, rows, params, extra = begun('nnbyol')
    value, outputs, before, after, _ = one_step(method, rows, params, extra)
    (t1, t2), (p1, p2) = outputs['targets'], outputs['predictions']
    near = [np.asarray(losses.nearest(t, before['queue'])) for t in (t1, t2)]
    expected = np.mean(((unit(p1) - near[1]) ** 2).sum(1) + ((unit(p2) - near[0]) ** 2).sum(1))
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    np.testing.assert_allclose(after['queue'][:16], unit(t1), rtol=1e-4, atol=1e-6)
    start = {k: params[k] for k in ('encoder', 'projector')}
    assert small.tree_distance(extra['target']['params'], start) == 0


@pytest.mark.slow
def test_the_hardest_of_all_rows_are_symmetric_moco():
    everything, rows, params, extra = begun('moco_hard', hardest=64)
    plain = small.make('moco_v2', symmetric=True)
    value, *_ = one_step(everything, rows, params, extra)
    np.testing.assert_allclose(value, one_step(plain, rows, params, extra)[0], rtol=FLOAT32)
    few, *_ = one_step(small.make('moco_hard', hardest=4), rows, params, extra)
    assert float(few) < float(value)
    for name in ('moco_hard', 'mochi'):
        with pytest.raises(ValueError, match='hardest=65 rows cannot be chosen from queue=64'):
            small.make(name, hardest=65)


@pytest.mark.slow
def test_mochi_without_mixtures_or_before_their_time_is_moco_and_draws_anew():
    method, rows, params, extra = begun('mochi')
    plain, *_ = one_step(small.make('moco_v2'), rows, params, extra)
    later = small.make('mochi', start_steps=1)
    np.testing.assert_allclose(one_step(later, rows, params, extra)[0], plain, rtol=FLOAT32)
    mixed = [float(one_step(method, rows, params, extra, jax.random.key(k))[0]) for k in (3, 3, 4)]
    assert mixed[0] == mixed[1] != mixed[2] and min(mixed) > float(plain)


def test_co2_adds_its_divergence():
    method, rows, params, extra = begun('co2', consistency_weight=3.0)
    value, outputs, before, *_ = one_step(method, rows, params, extra)
    query, key, queue = outputs['embeddings'][0], outputs['keys'][0], before['queue'][0]
    expected = losses.info_nce(query, key, queue, temperature=0.2) + 3.0 * losses.co2(query, key, queue)
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)


def test_unisiam_is_simsiam_without_its_second_term():
    method, rows, params, extra = begun('unisiam', uniformity_weight=0.0, fuse_views=False)
    np.testing.assert_allclose(
        one_step(method, rows, params, extra)[0], one_step(small.make('simsiam'), rows, params, extra)[0], rtol=FLOAT32
    )


@pytest.mark.slow
def test_directclr_sees_the_first_features_and_no_more():
    method, rows, params, extra = begun('directclr')
    value, outputs, *_ = one_step(method, rows, params, extra)
    z1, z2 = (z[:, :8] for z in outputs['embeddings'])
    expected = np.mean([losses.info_nce_in_batch(a, b, temperature=0.2) for a, b in ((z1, z2), (z2, z1))])
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)

    def loss(z):
        return method.criterion(params, {**outputs, 'embeddings': z}, extra, rows, KEY)[0]

    gradients = jax.grad(loss)(outputs['embeddings'])
    assert all(zero(g[:, 8:]) and not zero(g[:, :8]) for g in gradients)
    with pytest.raises(ValueError, match='dims=17 is more than the 16 features'):
        small.initial(small.make('directclr', dims=17), rows)


def test_spectral_losses_take_the_cheaper_product_and_many_views(x64):
    from contrast_references import emp_ssl_reference, frossl_reference

    rng = np.random.default_rng(2)
    for shape in ((12, 5), (4, 9)):
        z = [rng.normal(size=shape) for _ in range(3)]
        np.testing.assert_allclose(losses.frossl(*z), frossl_reference(*z), rtol=FLOAT64)
        np.testing.assert_allclose(losses.emp_ssl(*z), emp_ssl_reference(*z), rtol=FLOAT64)


def test_frossls_golden_value_of_three_views(golden, x64):
    """The authors' multi-view function, as lightly has it, on the golden inputs and their product."""
    x, y = golden
    assert abs(float(losses.frossl(x, y, x * y)) + 2.4842365892) < 2e-9


REGIONS = (
    np.array([[0, 1, 2, 2], [0, 0, 1, 3], [2, 1, 0, 3], [0, 1, 2, 3]]),
    np.array([[1, 0, 2, 3], [0, 2, 1, 1], [4, 5, 6, 7], [3, 2, 1, 0]]),
)


def test_golden_values_of_regions_and_patches(golden, x64):
    """lightly's DetConSLoss, DetConBLoss and PatchKernelAlignmentLoss on the golden inputs as four images of four rows."""
    first, second = (z.reshape(4, 4, 6) for z in golden)
    single = losses.detcon(first, second, first, second, *REGIONS)
    both = losses.detcon(first, second, second[:, :, ::-1], first[:, :, ::-1], *REGIONS)
    counted = np.ones((4, 4), bool)
    counted[1, 2] = counted[3, :3] = False  # one token is left of the last image, which so counts for nothing
    aligned = [losses.patch_kernel_alignment(first, second, counted=c) for c in (np.ones((4, 4), bool), counted)]
    expected = [10.0310185086, 8.3771283360, 0.0078759309, 0.0079505662]
    np.testing.assert_allclose([single, both, *aligned], expected, atol=2e-9)


def test_regions_without_a_partner_and_images_without_tokens_give_no_gradient():
    z = np.random.default_rng(5).normal(size=(2, 3, 4)).astype(np.float32)
    apart = np.arange(6).reshape(2, 3)
    found = jax.grad(lambda p: losses.detcon(p, z, z, z, apart, apart + 6))(z)
    assert zero(found)
    none = np.zeros((2, 3), bool)
    assert zero(jax.grad(lambda p: losses.patch_kernel_alignment(p, z, counted=none))(z))
