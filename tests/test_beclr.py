"""BECLR: clusters of a memory, neighbours that enlarge a batch, and a step of the method against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import compiled
from selfsup import losses
from selfsup.errors import UserError
from tolerances import FLOAT32, FLOAT64

KEY = jax.random.key(3)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_clusters_of_a_batch_are_those_of_sinkhorns_plan(x64):
    z, prototypes = numbers((12, 5)), numbers((4, 5), 1)
    distance = np.linalg.norm(unit(z)[:, None] - unit(prototypes)[None], axis=2)
    for farthest in (False, True):
        plan = np.exp((distance if farthest else -distance) / 0.3)
        for _ in range(10):
            plan /= plan.sum(0, keepdims=True)
            plan /= plan.sum(1, keepdims=True)
        found = compiled(losses.balanced_clusters, epsilon=0.3, farthest=farthest)(z, prototypes)
        np.testing.assert_array_equal(found, plan.argmax(1))
    near = compiled(losses.balanced_clusters)(np.repeat(prototypes, 3, axis=0), prototypes)
    np.testing.assert_array_equal(near, np.repeat(np.arange(4), 3))


def test_neighbours_are_of_the_rows_cluster_or_of_all_where_it_is_small(x64):
    z, memory, prototypes = numbers((6, 5)), numbers((20, 5), 1), numbers((3, 5), 2)
    members = np.random.default_rng(3).integers(0, 2, 20)
    members[:2], members[18:] = 2, -1  # cluster 2 has two entries, and two places are empty
    found = np.asarray(compiled(losses.nearest_members, neighbours=3)(z, memory, members, prototypes))
    sizes = set()
    for row, near in zip(z, found, strict=True):
        own = members == np.argmax(unit(prototypes) @ unit(row))
        sizes.add(own.sum() > 3)
        pool = memory[own if own.sum() > 3 else members >= 0]
        order = np.argsort(-(unit(pool) @ unit(row)), kind='stable')[:3]
        np.testing.assert_allclose(near, pool[order], rtol=FLOAT64)
    assert sizes == {True, False}
    own = memory[:1], memory, np.zeros(20, int), prototypes
    np.testing.assert_allclose(compiled(losses.nearest_members, neighbours=3)(*own)[0, 0], memory[0], rtol=FLOAT64)


def reference(p1, p2, t1, t2, z1, z2, weight=0.1, temperature=2.0):
    align = -0.5 * np.mean((unit(p1) * unit(t2)).sum(1)) - 0.5 * np.mean((unit(p2) * unit(t1)).sum(1))
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    kernel = [np.exp(z[i] @ z[j] / temperature) for i in range(2 * n) for j in range(2 * n) if i % n != j % n]
    return align + weight * np.log(np.mean(kernel))


def test_loss_is_the_formula_and_unisiams_where_the_target_is_the_network(x64):
    given = [numbers((7, 5), seed) for seed in range(6)]
    np.testing.assert_allclose(compiled(losses.beclr)(*given), reference(*given), rtol=FLOAT64)
    p1, p2, _, _, z1, z2 = given
    same = compiled(losses.unisiam)(p1, p2, z1, z2)
    np.testing.assert_allclose(compiled(losses.beclr)(p1, p2, z1, z2, z1, z2), same, rtol=FLOAT64)
    one = [np.ones((7, 5))] * 6
    np.testing.assert_allclose(compiled(losses.beclr)(*one), -1 + 0.1 / 2, rtol=FLOAT64)
    gradients = jax.grad(losses.beclr, argnums=(2, 3))(*map(jnp.asarray, given))
    assert all((np.asarray(g) == 0).all() for g in gradients)


def begun(**changes):
    method, rows = small.make('beclr', **changes), small.batch()
    return (method, rows, *small.started(method, rows))


@pytest.mark.parametrize('repeated', [False, True])
def test_a_step_enlarges_the_batch_by_entries_of_the_memory(repeated):
    method, rows, params, extra = begun(repeated=repeated, farthest=True)
    assert bool(extra['started']) and int(extra['filled']) == 32 == int(extra['pointer'])
    outputs, new = small.embed(method, params, extra, rows, KEY)
    value, (after, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
    kinds = [[np.asarray(z, np.float64) for z in outputs[k]] for k in ('targets', 'predictions', 'embeddings')]
    enlarged = []
    for kind, views in enumerate(kinds):
        both = np.concatenate(views)
        memory, members = np.asarray(extra['memory'][kind]).copy(), np.asarray(extra['members'][kind]).copy()
        prototypes = np.asarray(extra['prototypes'][kind])
        own = losses.balanced_clusters(both.astype(np.float32), prototypes, farthest=True)
        memory[32:], members[32:] = both, own
        means = [memory[members == k].mean(0) if (members == k).any() else prototypes[k] for k in range(4)]
        np.testing.assert_array_equal(after['members'][kind], members)
        np.testing.assert_allclose(after['memory'][kind], memory, rtol=FLOAT32, atol=1e-6)
        np.testing.assert_allclose(after['prototypes'][kind], means, rtol=1e-4, atol=1e-5)
        near = np.asarray(
            losses.nearest_members(both.astype(np.float32), memory, members, np.stack(means), neighbours=2)
        )
        found = near.reshape(2, -1, near.shape[-1])
        if repeated and kind == 1:
            found = [np.repeat(z, 2, axis=0) for z in views]
        enlarged.append([np.concatenate([z, x]) for z, x in zip(views, found, strict=True)])
    (t1, t2), (p1, p2), (z1, z2) = enlarged
    np.testing.assert_allclose(value, reference(p1, p2, t1, t2, z1, z2), rtol=1e-4)
    assert bool(metrics['enlarged']) and int(after['pointer']) == 0 and int(after['filled']) == 64


def test_before_its_time_the_batch_is_not_enlarged_and_the_oldest_entries_are_replaced():
    method, rows = small.make('beclr', queue=48), small.batch()
    params, extra = small.initial(method, rows)
    for pointer in (32, 16, 0):
        outputs, new = small.embed(method, params, extra, rows, KEY)
        value, (extra, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
        expected = losses.beclr(*outputs['predictions'], *outputs['targets'], *outputs['embeddings'])
        np.testing.assert_allclose(value, expected, rtol=FLOAT32)
        assert int(extra['pointer']) == pointer and not metrics['enlarged'] and (extra['members'] == -1).all()
    both = np.concatenate(outputs['embeddings'])
    np.testing.assert_allclose(np.roll(extra['memory'][2], 32, axis=0)[:32], both, rtol=FLOAT32, atol=1e-6)
    few = {**extra, 'filled': jnp.asarray(3, jnp.int32)}
    assert not bool(jax.jit(method.refresh.update)(params, few, KEY, None)[1]['started'])


def test_only_the_trained_network_sees_masked_images():
    method, rows, params, extra = begun(ratio=0.5)
    plain, _ = small.embed(small.make('beclr', ratio=0.0), params, extra, rows, KEY)
    masked, _ = small.embed(method, params, extra, rows, KEY)
    np.testing.assert_allclose(masked['targets'][0], plain['targets'][0], rtol=FLOAT32, atol=1e-6)
    assert small.tree_distance(masked['embeddings'], plain['embeddings']) > 1e-2


def test_fields_that_do_not_fit_are_named():
    with pytest.raises(
        UserError, match='method.clusters=65 clusters or method.neighbours=2 neighbours in method.queue=64'
    ):
        small.make('beclr', clusters=65)
    rows = small.batch()
    method = small.make('beclr', patch=3)
    with pytest.raises(UserError, match='method.patch=3 must divide the sides of images'):
        small.embed(method, *small.initial(method, rows), rows, KEY)
    method = small.make('beclr', queue=16)
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    with pytest.raises(UserError, match='method.queue=16 must hold both views of a batch, 32 rows'):
        small.criterion(method, params, outputs, extra, rows, KEY)
