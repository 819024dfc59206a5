"""Every method gives the same loss and gradient on one device and on several, under jit, pmap and shard_map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.sharding import PartitionSpec
from selfsup import methods, parallel

each = pytest.mark.parametrize('name', sorted(methods.METHODS))
# Agreement of devices, as the design states it.
LOSS_FLOAT32, GRADIENT_FLOAT32, FLOAT64 = 1e-5, 1e-5, 1e-10


def float64(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def one_and_many(name, how, devices, *, double, made=small.make):
    """Loss, gradient and state on one device and on several, with different data in every shard."""
    axis = None if how == 'jit' else 'data'
    single, many = made(name), made(name, axis_name=axis)
    rows = small.batch()
    params, extra = small.started(single, rows)
    if double:
        params, extra, rows = float64(params), float64(extra), float64(rows)
    key = jax.random.key(5)
    reference = small.loss_and_gradient(single, params, extra, rows, key)
    mesh = parallel.data_mesh(devices)
    if how == 'jit':
        step = rows.pop('step')
        spread = {**jax.device_put(rows, parallel.sharded(mesh)), 'step': step}
        params, extra = jax.device_put((params, extra), parallel.replicated(mesh))
        return reference, small.loss_and_gradient(many, params, extra, spread, key)

    step = rows.pop('step')

    def body(rows):
        batch = {**rows, 'step': step}
        (value, (new, metrics)), gradients = small.loss_and_gradient(many, params, extra, batch, key)
        return (value, (new, metrics)), jax.lax.pmean(gradients, 'data')

    if how == 'pmap':
        cut = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), rows)
        out = jax.pmap(body, axis_name='data', devices=jax.devices()[:devices])(cut)
        return reference, jax.tree.map(lambda x: x[0], out)
    spec = PartitionSpec('data')
    check = how == 'shard_map'
    whole = jax.shard_map(body, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=check)
    return reference, jax.jit(whole)(rows)


def assert_agree(reference, other, loss, gradient):
    (value, (extra, _)), gradients = reference
    (value_n, (extra_n, _)), gradients_n = other
    np.testing.assert_allclose(value_n, value, rtol=loss)
    assert small.tree_distance(gradients_n, gradients) < gradient
    # Batch statistics are kept in float32 whatever the arithmetic, so states agree to its rounding.
    assert small.tree_distance(extra_n, extra) < 1e-5


# Rounding has nothing to do with the method, so one of them stands for all in the quick suite.
@pytest.mark.slow
@small.each(quick=('moco_v2',))
def test_eight_devices_agree_with_one(name):
    assert_agree(*one_and_many(name, 'jit', 8, double=False), LOSS_FLOAT32, GRADIENT_FLOAT32)


@small.each(quick=('barlow_twins', 'moco_v2', 'dino'))
def test_eight_devices_agree_with_one_in_float64(name, x64):
    assert_agree(*one_and_many(name, 'jit', 8, double=True), FLOAT64, FLOAT64)


@pytest.mark.slow
@each
@pytest.mark.parametrize('devices', [2, 8])
@pytest.mark.parametrize('how', ['jit', 'pmap', 'shard_map', 'shard_map, unchecked'])
def test_every_way_of_being_parallel_agrees(name, how, devices, x64):
    assert_agree(*one_and_many(name, how, devices, double=True), FLOAT64, FLOAT64)


@small.each(quick=('barlow_twins',))
def test_pmap_of_four_devices_agrees(name, x64):
    assert_agree(*one_and_many(name, 'pmap', 4, double=True), FLOAT64, FLOAT64)
