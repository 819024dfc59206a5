"""Layouts of a state: rules, what FSDP spreads, that it changes no number, and that a step keeps it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from jax.sharding import PartitionSpec
from selfsup import optim, parallel
from selfsup.engine.run import Run
from selfsup.engine.step import TrainState, init_probe, make_dispatch, make_step

STEPS, DEVICES = 3, 8
RULES = {'replicated': parallel.REPLICATED, 'fsdp': parallel.fsdp(512)}


def float64(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def named(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def trained(rules, *, name='byol', steps_a_call=1):
    """Losses and state of a method with a target network after some float64 steps, on eight devices."""
    mesh = parallel.data_mesh(DEVICES)
    method, rows = small.make(name), float64(small.batch())
    # Not Adam: batch-norm takes a bias before it away, and of a gradient that is rounding Adam makes a step.
    optimizer = optim.optimizer('sgd', lambda step: 1e-2, peak=1e-2)
    step = make_step(
        method,
        optimizer,
        lambda step: 1e-2,
        lambda key, images, positions, sources: ((images[:, 0], images[:, 1]), ({}, {})),
        probe_rate=1e-3,
        mesh=mesh,
    )
    params, extra = float64(small.started(method, rows))
    probe = float64(init_probe(16, 10))
    state = TrainState(jnp.zeros((), jnp.int32), params, extra, optimizer.init(params), probe)
    shardings = parallel.state_sharding(mesh, state, rules)
    state = jax.device_put(state, shardings)
    data = {'input': jnp.stack(rows['views'], axis=1), 'label': rows['label']}
    data = jax.device_put(data, parallel.replicated(mesh))
    indices = np.stack([np.random.default_rng(number).permutation(small.BATCH) for number in range(STEPS)])
    indices = jax.device_put(indices.astype(np.int32), parallel.NamedSharding(mesh, PartitionSpec(None, 'data')))
    dispatch, losses = make_dispatch(step, resident=True, shardings=shardings), []
    for number in range(0, STEPS, steps_a_call):
        state, metrics = dispatch(state, data, indices[number : number + steps_a_call], 0)
        losses.extend(np.asarray(metrics['loss']))
    return losses, state, shardings


@pytest.mark.parametrize('steps_a_call', [1, pytest.param(STEPS, marks=pytest.mark.slow)])
def test_fsdp_changes_no_number_and_keeps_its_layout(steps_a_call, x64):
    (losses, state, _), (spread_losses, spread, shardings) = (
        trained(rules, steps_a_call=steps_a_call) for rules in RULES.values()
    )
    np.testing.assert_allclose(spread_losses, losses, rtol=tolerances.FLOAT64)
    assert small.tree_distance(spread.params, state.params) < tolerances.FLOAT64
    assert small.tree_distance(spread.extra['target']['params'], state.extra['target']['params']) < tolerances.FLOAT64
    assert jax.tree.map(lambda x: x.sharding, spread) == shardings
    specs = {name: x.sharding.spec for name, x in named(spread).items()}
    parts = {name.split('/')[0] for name, spec in specs.items() if 'data' in spec}
    assert parts == {'params', 'extra', 'opt_state', 'probe'}
    assert all('target/params' in name for name, spec in specs.items() if 'data' in spec and name.startswith('extra'))
    held, whole = (sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(s.params)) for s in (spread, state))
    assert held < whole / 4


def test_rules_by_path_size_and_axis():
    mesh = parallel.data_mesh(DEVICES)
    leaf = jax.ShapeDtypeStruct
    tree = {
        'extra': {'per_example': {'memory': leaf((32, 4), np.float32), 'odd': leaf((9, 4), np.float32)}},
        'params': {'big': leaf((16, 64), np.float32), 'odd': leaf((9, 24), np.float32), 'none': leaf((9, 9), np.float32),
                   'small': leaf((8,), np.float32), 'own': leaf((64, 8), np.float32)},
        'queue': leaf((64, 64), np.float32),
    }  # fmt: skip
    rules = (('params/own', PartitionSpec('data')), *parallel.fsdp(64))
    specs = {name: tuple(s.spec) for name, s in named(parallel.state_sharding(mesh, tree, rules)).items()}
    assert specs == {
        'extra/per_example/memory': ('data',), 'extra/per_example/odd': (),
        'params/big': (None, 'data'), 'params/odd': (None, 'data'), 'params/none': (), 'params/small': (),
        'params/own': ('data',), 'queue': (),
    }  # fmt: skip
    plain = parallel.state_sharding(mesh, tree)
    assert [name for name, s in named(plain).items() if s.spec] == ['extra/per_example/memory']


@pytest.mark.slow
def test_a_config_asks_for_it():
    config = small.digits_config('simclr', 'parallel.shard=fsdp', 'parallel.fsdp_least_bytes=1000')
    run = Run(config, devices=DEVICES)
    state = run.start()
    kernel = max(jax.tree.leaves(state.params['projector']), key=lambda x: x.size)
    assert 'data' in kernel.sharding.spec
    before = jax.tree.map(lambda x: x.sharding, state)
    state, _ = run.dispatch(state, *run.feed(0, 1))
    assert jax.tree.map(lambda x: x.sharding, state) == before
