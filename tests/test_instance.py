"""What the methods with a row for each example promise: order of a step, addressing, sharding, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import losses
from selfsup import optim, parallel
from selfsup.engine.run import Run
from selfsup.errors import UserError
from selfsup.methods.instance.invprop import nearest_others
from selfsup.methods.memory import moved, padded
from test_method_contracts import KEY, begun, one_step, zero
from tolerances import FLOAT32, FLOAT64

METHODS = ('diet', 'instdisc', 'invprop', 'pirl')


def unit(z):
    return np.asarray(z) / np.linalg.norm(z, axis=1, keepdims=True)


def test_instdisc_recognises_by_the_memory_as_it_was_and_moves_its_rows_afterwards():
    rows = {**small.batch(), 'index': jnp.arange(16)[::-1] + 3}
    method, _, params, extra = begun('instdisc', rows, data_size=20, negatives=0, temperature=0.1)
    memory = extra['per_example']['memory']
    assert memory.shape == (padded(20), 16)
    assert float(jnp.abs(memory).max()) <= (3 / 16) ** 0.5
    value, outputs, _, new, _ = one_step(method, rows, params, extra)
    views = outputs['embeddings']
    expected = np.mean([losses.instance_softmax(z, memory, rows['index'], temperature=0.1, count=20) for z in views])
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    row = unit(0.5 * np.asarray(memory)[rows['index']] + 0.5 * unit(views[0]))
    np.testing.assert_allclose(new['per_example']['memory'][rows['index']], row, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(new['per_example']['memory'][:3], memory[:3])
    np.testing.assert_array_equal(new['per_example']['memory'][19:], memory[19:])


def test_instdisc_adds_the_papers_proximal_term():
    method, rows, params, extra = begun('instdisc')
    plain, outputs, *_ = one_step(method, rows, params, extra)
    proximal, *_ = one_step(small.make('instdisc', proximal=30.0), rows, params, extra)
    own = np.asarray(extra['per_example']['memory'])[:16]
    expected = np.mean([((unit(z) - own) ** 2).sum(1).mean() for z in outputs['embeddings']])
    np.testing.assert_allclose(proximal - plain, 30.0 * expected, rtol=1e-4)


@pytest.mark.parametrize('name', ['instdisc', 'pirl'])
def test_the_normaliser_is_that_of_the_first_batch(name):
    method, rows, params, extra = begun(name)
    assert not extra['normalizer']['known']
    _, _, _, first, _ = one_step(method, rows, params, extra)
    other = {**rows, 'views': rows['views'][::-1]}
    _, _, _, second, _ = one_step(method, other, params, first, jax.random.key(8))
    assert first['normalizer']['known'] and float(first['normalizer']['log']) != 0
    np.testing.assert_array_equal(first['normalizer']['log'], second['normalizer']['log'])


@pytest.mark.slow
def test_negatives_are_drawn_anew_at_each_step_and_may_be_fetched_row_by_row(x64):
    rng = np.random.default_rng(0)
    z, memory, index = rng.normal(size=(4, 3)), rng.normal(size=(50, 3)), np.arange(4)
    few = rng.integers(0, 50, (4, 2))
    many = np.concatenate([few, rng.integers(0, 50, (4, 40))], axis=1)  # of the product with the whole memory
    scores = np.exp(unit(z) @ memory.T / 0.5)
    for negatives in (few, many):
        drawn = np.take_along_axis(scores, np.concatenate([index[:, None], negatives], axis=1), axis=1)
        expected = np.log(50 * drawn.mean())
        found = losses.instance_normalizer(z, memory, index, negatives, temperature=0.5)
        np.testing.assert_allclose(found, expected, rtol=FLOAT64)
        p, noise = drawn / (50 * drawn.mean()), negatives.shape[1] / 50
        expected = -np.mean(
            np.log(p[:, 0] / (p[:, 0] + noise + 1e-7)) + np.log(noise / (p[:, 1:] + noise + 1e-7)).sum(1)
        )
        found = losses.instance_nce(z, memory, index, negatives, temperature=0.5)
        np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    method, rows, params, extra = begun('instdisc')
    values = [float(one_step(method, rows, params, extra, jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.slow
def test_pirl_compares_both_views_with_one_memory_which_follows_the_image():
    method, rows, params, extra = begun('pirl', image_weight=0.25)
    value, outputs, _, new, metrics = one_step(method, rows, params, extra)
    np.testing.assert_allclose(value, 0.75 * metrics['transformed'] + 0.25 * metrics['image'], rtol=FLOAT32)
    memory = extra['per_example']['memory']
    np.testing.assert_allclose(np.linalg.norm(memory, axis=1), 1, rtol=FLOAT32)
    row = unit(0.5 * np.asarray(memory)[:16] + 0.5 * unit(outputs['embeddings'][0]))
    np.testing.assert_allclose(new['per_example']['memory'][:16], row, rtol=1e-4, atol=1e-6)
    gradients = jax.grad(lambda p: one_step(method, rows, p, extra)[0])(params)
    assert not any(zero(gradients[part]) for part in ('encoder', 'projector', 'patch_projector'))
    assert params['patch_projector']['mix']['linear0']['kernel'].shape == (4 * 16, 16)


@pytest.mark.slow
def test_pirl_may_turn_the_second_view():
    method, rows, params, extra = begun('pirl', transform='rotation')
    assert 'mix' not in params['patch_projector']
    value, outputs, *_ = one_step(method, rows, params, extra)
    assert np.isfinite(value) and outputs['embeddings'][1].shape == (16, 16)
    other = {**rows, 'keys': jax.random.split(jax.random.key(9), 16)}
    _, drawn, *_ = one_step(method, other, params, extra)
    assert not np.allclose(drawn['embeddings'][1], outputs['embeddings'][1], atol=1e-4)
    wide = {**rows, 'views': tuple(v[:, :, :6] for v in rows['views'])}
    with pytest.raises(ValueError, match=r'square views, not \[8, 6\]'):
        small.embed(method, params, extra, wide, KEY)


def test_positives_are_found_by_steps_in_the_graph_as_it_was():
    graph = jnp.asarray([[1, 2], [3, 0], [0, 1], [2, 1]])
    found = losses.propagated(graph, jnp.asarray([0, 3]), hops=3)
    np.testing.assert_array_equal(
        found, [[1, 2, 3, 0, 0, 1, 2, 1, 1, 2, 1, 2, 3, 0], [2, 1, 0, 1, 3, 0, 1, 2, 3, 0, 2, 1, 1, 2]]
    )
    method, rows, params, extra = begun('invprop', start_steps=2)
    held = extra['per_example']
    np.testing.assert_array_equal(held['neighbours'], np.arange(256)[:, None].repeat(2, 1))
    value, outputs, _, new, metrics = one_step(method, rows, params, extra)
    np.testing.assert_allclose(value, metrics['instance'], rtol=FLOAT32)
    z = unit(outputs['embeddings'][0])
    similarity = z @ np.asarray(held['memory'][:16]).T
    np.fill_diagonal(similarity, -np.inf)
    np.testing.assert_array_equal(new['per_example']['neighbours'][:16], np.argsort(-similarity, axis=1)[:, :2])
    value, _, _, _, metrics = one_step(method, {**rows, 'step': jnp.asarray(2)}, params, new)
    np.testing.assert_allclose(value, metrics['instance'] + 0.6 * metrics['invariance'], rtol=FLOAT32)


def test_neighbours_are_those_of_the_authors():
    """Their code takes the k + 1 nearest and lets the last one stand where the example itself is."""
    rng = np.random.default_rng(3)
    z, memory = rng.normal(size=(6, 4)), rng.normal(size=(9, 4))
    near = np.argsort(-(unit(z) @ memory.T), axis=1)[:, :4]
    theirs = np.where(near == np.arange(6)[:, None], near[:, 3:], near)[:, :3]
    found = nearest_others(jnp.asarray(z), jnp.asarray(memory), jnp.arange(6), near=3, count=9)
    assert [set(row) for row in np.asarray(found)] == [set(row) for row in theirs]


@pytest.mark.slow
def test_diets_head_is_a_parameter_whose_padding_gets_no_gradient():
    method, rows, params, extra = begun('diet')
    gradients = jax.grad(lambda p: one_step(method, rows, p, extra)[0])(params)
    head = gradients['per_example']
    assert head['kernel'].shape == (256, 16) and head['bias'].shape == (256,)
    assert zero((head['kernel'][16:], head['bias'][16:])) and np.all(np.abs(head['bias'][:16]) > 0)
    optimizer = optim.optimizer(
        'adamw', lambda step: 0.1, peak=0.1, weight_decay=0.0, groups={'per_example': optim.Group(scale=0.5)}
    )
    updates, state = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_allclose(np.abs(updates['per_example']['bias'][:16]), 0.05, rtol=1e-2)
    moments = [x for path, x in jax.tree_util.tree_leaves_with_path(state) if 'per_example' in str(path)]
    assert len(moments) >= 4 and all(x.shape[0] == 256 for x in moments if x.ndim)


@pytest.mark.slow
@small.each(METHODS, quick=('instdisc',))
def test_rows_are_spread_over_the_devices_and_change_nothing(name, x64):
    """The state as a run lays it out, and a batch spread likewise, against one device."""
    method, rows, params, extra = begun(name)
    double = lambda t: jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, t)  # noqa: E731
    params, extra, rows = double(params), double(extra), double(rows)
    (value, (new, _)), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    mesh = parallel.data_mesh(8)
    state = {'params': params, 'extra': extra}
    spread = jax.device_put(state, parallel.state_sharding(mesh, state))
    held = spread['params' if name == 'diet' else 'extra']['per_example']
    assert all(len(x.sharding.device_set) == 8 and not x.is_fully_replicated for x in jax.tree.leaves(held))
    step = rows.pop('step')
    batch = {**jax.device_put(rows, parallel.sharded(mesh)), 'step': step}
    (other, (moved_on, _)), found = small.loss_and_gradient(method, spread['params'], spread['extra'], batch, KEY)
    np.testing.assert_allclose(other, value, rtol=FLOAT64)
    assert small.tree_distance(found, gradients) < FLOAT64
    if name != 'diet':
        assert small.tree_distance(moved_on['per_example'], new['per_example']) < FLOAT64


@pytest.mark.parametrize('name', METHODS)
def test_an_index_outside_of_the_data_is_refused_or_seen(name):
    method, rows, params, extra = begun(name)
    outside = {**rows, 'index': rows['index'].at[3].set(16)}  # a row of padding, which jax would read
    outputs, extra = small.embed(method, params, extra, outside, KEY)
    assert np.isnan(small.criterion(method, params, outputs, extra, outside, KEY)[0])
    with pytest.raises(ValueError, match=r'index must lie in \[0, 16\), the examples .*, and reaches from 0 to 16'):
        method.criterion(params, outputs, extra, outside, KEY)


def test_a_missing_data_size_is_refused():
    for name in METHODS:
        with pytest.raises(UserError, match=f'{name} keeps a row for each example and needs data_size from 1, not 0'):
            small.make(name, data_size=0)
    with pytest.raises(ValueError, match='near=16 neighbours cannot be found among 16 examples'):
        small.make('invprop', near=16)


def test_a_memory_larger_than_the_device_is_refused_before_it_is_made():
    c = small.digits_config('instdisc', 'projector.widths=(1_000_000_000,)')
    with pytest.raises(UserError) as error:
        Run(c, devices=1)
    told = str(error.value)
    assert told.startswith('method.name=instdisc keeps 1,536 rows') and 'GiB' in told and '\n' not in told


def test_duplicates_and_zero_rows_stay_finite():
    memory = moved(jnp.zeros((4, 3)), jnp.arange(2), jnp.zeros((2, 3)), 0.5)
    assert zero(memory)
