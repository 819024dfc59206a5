"""What each clustering, whitening and local method promises beyond the table: order of updates, gradients, timing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import losses
from selfsup import methods, models
from selfsup.errors import UserError
from selfsup.methods.base import over_pairs, towards
from selfsup.methods.distillation.dino import last_layer
from selfsup.methods.memory import PIECE
from selfsup.methods.places import places
from tolerances import FLOAT32, FLOAT64

KEY = jax.random.key(3)


def one_step(method, rows, params, extra, key=KEY):
    outputs, extra = small.embed(method, params, extra, rows, key)
    value, (new, metrics) = small.criterion(method, params, outputs, extra, rows, key)
    return value, outputs, extra, new, metrics


def begun(name, rows=None, **changes):
    rows = small.batch() if rows is None else rows
    method = small.make(name, **changes)
    return (method, rows, *small.started(method, rows))


def multicrop(rows):
    """The batch with two smaller crops after its two views."""
    views, params = rows['views'], rows['view_params']
    return {**rows, 'views': (*views, *(v[:, 1:7, 1:7] for v in views)), 'view_params': (*params, *params)}


def zero(tree):
    return all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(tree))


# One query meets one key, or one target's covariance.
TWO_VIEWS = (
    'all4one', 'amdim', 'beclr', 'cluster_ns', 'co2', 'detcon', 'esimcse', 'filmr', 'mochi', 'moco_hard', 'moco_v1', 'moco_v2', 'pcl', 'pirl', 'ressl', 'scan',
    'scan_self_label', 'sie', 'tico', 'whitened_contrastive',
)  # fmt: skip
# Whose first view is the target network's alone.
FIRST_OF_THE_TARGET = ('intl_m',)
# Whose views are of one size: patches, images that one decoder gives.
OF_ONE_SIZE = ('clusternet', 'jigclu')
# Methods that take one view and have no use for more.
ONE_VIEW = (
    'bootmae', 'capi', 'cmae', 'crossmae', 'data2vec', 'data2vec2', 'dinosr', 'ijepa', 'mae', 'maskfeat', 'simmim',
    'abs_topk', 'archetypal', 'batch_topk', 'csr', 'gated', 'jump_relu', 'matching_pursuit', 'matryoshka', 'p_anneal',
    'progressive', 'relu_l1', 'topk', 'colourisation', 'cpc', 'deepercluster', 'jigsaw', 'relative_patch', 'rotation',
)  # fmt: skip


@small.each(set(methods.METHODS) - {*TWO_VIEWS, *ONE_VIEW, *OF_ONE_SIZE}, quick=('dino',))
def test_multi_crop_runs_and_every_crop_gets_a_gradient(name):
    rows = multicrop(small.batch())
    method, _, params, extra = begun(name, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    assert [z.shape[0] for z in outputs['embeddings']] == [small.BATCH] * (4 - (name in FIRST_OF_THE_TARGET))
    asked = 'predictions' if 'predictions' in outputs else 'embeddings'

    def value(views):
        return small.criterion(method, params, {**outputs, asked: views}, extra, rows, KEY)[0]

    gradients = jax.jit(jax.grad(value))(outputs[asked])
    assert all(float(jnp.abs(g).max()) > 1e-8 for g in gradients)


@small.each(TWO_VIEWS, quick=('moco_v2', 'scan', 'tico'))
def test_methods_of_two_views_refuse_more(name):
    rows = small.batch()
    method, _, params, extra = begun(name, rows)
    with pytest.raises(UserError, match=r'compares 2 views, and gets 4 \(augment.views'):
        small.embed(method, params, extra, multicrop(rows), KEY)


def test_crops_are_compared_with_the_two_global_views(x64):
    """By the formula, for a symmetric loss and for one with a target; two views are the methods' own loss."""
    z = [jnp.asarray(np.random.default_rng(v).normal(size=(6, 5))) for v in range(4)]
    places = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    expected = np.mean([losses.ntxent(z[i], z[j]) for i, j in places])
    np.testing.assert_allclose(over_pairs(losses.ntxent, tuple(z)), expected, rtol=FLOAT64)
    np.testing.assert_allclose(over_pairs(losses.ntxent, tuple(z[:2])), losses.ntxent(*z[:2]), rtol=FLOAT64)
    t = z[2:]
    expected = sum(np.mean([losses.moco_v3(z[v], t[g]) for v in range(4) if v != g]) for g in range(2))
    np.testing.assert_allclose(towards(losses.moco_v3, tuple(z), tuple(t)), expected, rtol=FLOAT64)
    both = losses.moco_v3(z[0], t[1]) + losses.moco_v3(z[1], t[0])
    np.testing.assert_allclose(towards(losses.moco_v3, tuple(z[:2]), tuple(t)), both, rtol=FLOAT64)


def test_w_mse_draws_its_blocks_from_the_key_alike_for_all_views():
    method, rows, params, extra = begun('w_mse', block=8, iterations=2)
    value, outputs, *_ = one_step(method, rows, params, extra)
    order = jnp.stack([jax.random.permutation(jax.random.fold_in(KEY, i), small.BATCH) for i in range(2)])
    expected = losses.w_mse(*outputs['embeddings'], order=order, block=8, eps=0.1)
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    other, *_ = one_step(method, rows, params, extra, jax.random.key(4))
    assert abs(float(other - value)) > 1e-6


def test_tico_uses_the_covariance_that_holds_this_batch_and_moves_its_target_afterwards():
    seen = []

    def momentum(step):
        seen.append(int(step))
        return 0.75

    method, rows, params, extra = begun('tico', momentum=momentum)
    extra = {**extra, 'covariance': jnp.eye(16) / 16}
    value, outputs, before, after, _ = one_step(method, rows, params, extra)
    loss, covariance = losses.tico(outputs['embeddings'][0], outputs['targets'][0], extra['covariance'])
    np.testing.assert_allclose(value, loss, rtol=FLOAT32)
    np.testing.assert_allclose(after['covariance'], covariance, rtol=FLOAT32, atol=1e-7)
    assert small.tree_distance(before['target']['params'], extra['target']['params']) == 0

    def through_target(target):
        changed = {**extra, 'target': {**extra['target'], 'params': target}}
        return one_step(method, rows, params, changed)[0]

    assert zero(jax.grad(through_target)(extra['target']['params']))
    moved = jax.tree.map(lambda x: x + 1.0, params)
    _, later = method.after(moved, after, jnp.asarray(4))
    assert seen == [4]
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, extra['target']['params'], moved)
    assert small.tree_distance(later['target']['params'], expected) < 1e-6


@pytest.mark.slow
def test_the_new_part_of_ticos_covariance_is_stopped_where_asked():
    """The loss is the same, and its gradient that of the loss with the same keyword."""
    found = {}
    for stop in (False, True):
        method, rows, params, extra = begun('tico', stop_moment=stop)
        value, outputs, *_ = one_step(method, rows, params, extra)
        embeddings, (target,) = outputs['embeddings'], outputs['targets']

        def loss(z, stop=stop, target=target, extra=extra):
            return losses.tico(z, target, extra['covariance'], stop_moment=stop)[0]

        def through(z, method=method, rows=rows, params=params, extra=extra, outputs=outputs):
            return small.criterion(method, params, {**outputs, 'embeddings': (z,)}, extra, rows, KEY)[0]

        gradient = jax.grad(through)(embeddings[0])
        np.testing.assert_allclose(gradient, jax.grad(loss)(embeddings[0]), rtol=FLOAT32, atol=1e-7)
        found[stop] = value, gradient
    np.testing.assert_allclose(found[True][0], found[False][0], rtol=FLOAT32)
    assert float(jnp.abs(found[True][1] - found[False][1]).max()) > 1e-4


def test_mmcr_weights_may_be_traced_and_none_is_zero():
    method, rows, params, extra = begun('mmcr')
    plain = one_step(method, rows, params, extra)[0]
    traced = jax.vmap(lambda w: one_step(small.make('mmcr', lambd=w), rows, params, extra)[0])(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(traced[0], plain, rtol=FLOAT32)
    assert float(traced[1]) > float(plain)


def test_lejepa_draws_new_directions_for_every_step():
    method, rows, params, extra = begun('lejepa')
    values = [float(one_step(method, rows, params, extra, jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_vibcreg_may_end_in_iterative_normalisation():
    projector = models.MLP(widths=(32, 16), last_norm='iterative')
    method = small.methods.METHODS['vibcreg'](small.ENCODER, projector)
    rows = small.batch()
    params, extra = small.started(method, rows)
    value, outputs, new, *_ = one_step(method, rows, params, extra)
    assert np.isfinite(value)
    assert np.abs(np.mean(outputs['embeddings'][0], axis=0)).max() < 1e-5
    moved = small.tree_distance(new['batch_stats']['projector'], extra['batch_stats']['projector'])
    assert moved > 1e-3


@pytest.mark.slow
def test_iterative_normalisation_whitens(x64):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(400, 6)) @ (np.eye(6) + np.tri(6) / 4))
    module = models.IterNorm(groups=2, iterations=9, momentum=0.0)
    variables = module.init(jax.random.key(0), x, False)
    y, new = module.apply(variables, x, True, mutable=['batch_stats'])
    for group in (y[:, :3], y[:, 3:]):
        np.testing.assert_allclose(group.T @ group / 400, np.eye(3), atol=1e-4)
    # Few iterations whiten partly: no direction is stretched beyond 1.
    part = models.IterNorm(groups=1, iterations=5).apply(
        models.IterNorm(groups=1).init(jax.random.key(0), x, False), x, True, mutable=['batch_stats']
    )[0]
    eigenvalues = np.linalg.eigvalsh(part.T @ part / 400)
    assert 0 < eigenvalues[0] < eigenvalues[-1] < 1 + 1e-4
    # With no memory the running statistics are this batch's, kept in float32.
    again = module.apply({**variables, 'batch_stats': new['batch_stats']}, x, False)
    np.testing.assert_allclose(again, y, atol=1e-4)
    with pytest.raises(ValueError, match='6 channels cannot be cut into 4 groups'):
        models.IterNorm(groups=4).init(jax.random.key(0), x, False)


def test_swav_prototypes_are_unit_after_every_update():
    method, _, params, extra = begun('swav')
    np.testing.assert_allclose(jnp.linalg.norm(params['prototypes'], axis=1), 1, rtol=FLOAT32)
    grown = {**params, 'prototypes': 3.0 * params['prototypes'] + 0.1}
    new, _ = method.after(grown, extra, jnp.asarray(6))
    np.testing.assert_allclose(jnp.linalg.norm(new['prototypes'], axis=1), 1, rtol=FLOAT32)
    assert small.tree_distance(new['encoder'], params['encoder']) == 0


@pytest.mark.slow
def test_swav_fills_its_queue_from_its_time_and_uses_it_once_full():
    method, rows, params, extra = begun('swav', queue=32, queue_start=1)
    plain = losses.swav
    for step, (filled, used) in enumerate([(0, False), (16, False), (32, False), (32, True)]):
        value, outputs, before, after, _ = one_step(method, {**rows, 'step': jnp.asarray(step)}, params, extra)
        queue = before['queue'] if used else None
        expected = plain(*outputs['embeddings'], prototypes=params['prototypes'], queue=queue)
        np.testing.assert_allclose(value, expected, rtol=FLOAT32)
        assert int(after['filled']) == filled
        if step == 1:  # the batch's own rows entered after the loss, one queue a crop
            own = jnp.stack([z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in outputs['embeddings']])
            np.testing.assert_allclose(after['queue'][:, :16], own, rtol=1e-4, atol=1e-5)
            assert zero(after['queue'][:, 16:])
        _, extra = method.after(params, after, jnp.asarray(step))


def test_swav_freezes_prototypes_by_an_optimiser_group():
    from selfsup import optim

    _, _, params, _ = begun('swav')
    optimizer = optim.optimizer(
        'sgd', lambda step: 0.1, peak=0.1, weight_decay=0.1, groups={'prototypes': optim.Group(freeze_steps=2)}
    )
    state, ones = optimizer.init(params), jax.tree.map(jnp.ones_like, params)
    moves = []
    for _ in range(3):
        updates, state = optimizer.update(ones, state, params)
        moves.append(zero(updates['prototypes']))
        assert not zero(updates['encoder'])
    assert moves == [True, True, False]


def test_dino_updates_its_centre_after_the_loss():
    method, rows, params, extra = begun('dino')
    extra = {**extra, 'centre': jnp.linspace(-0.1, 0.1, 12)}
    value, outputs, before, after, _ = one_step(method, rows, params, extra)
    student = [last_layer(params['prototypes'], z) for z in outputs['embeddings']]
    teacher = [last_layer(before['target']['params']['prototypes'], z) for z in outputs['targets']]
    np.testing.assert_allclose(value, losses.dino(student, teacher, extra['centre']), rtol=FLOAT32)
    expected = 0.9 * extra['centre'] + 0.1 * jnp.mean(jnp.stack(teacher), axis=(0, 1))
    np.testing.assert_allclose(after['centre'], expected, rtol=1e-4, atol=1e-6)


def test_dino_teacher_gets_no_gradient_follows_and_is_what_is_evaluated():
    method, rows, params, extra = begun('dino')

    def through_target(target):
        return one_step(method, rows, params, {**extra, 'target': {**extra['target'], 'params': target}})[0]

    assert zero(jax.grad(through_target)(extra['target']['params']))
    moved = jax.tree.map(lambda x: x + 0.5, params)
    _, later = method.after(moved, extra, jnp.asarray(0))
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, extra['target']['params'], moved)
    assert set(later['target']['params']) == {'encoder', 'projector', 'prototypes'}
    assert small.tree_distance(later['target']['params'], expected) < 1e-6
    encoded = method.encode(method.network(moved, extra), rows['views'][0])['features']
    np.testing.assert_array_equal(encoded, method.encode(method.network(params, extra), rows['views'][0])['features'])


@pytest.mark.parametrize(
    ('changes', 'temperatures'),
    [
        pytest.param({'warmup_steps': 4}, (0.04, 0.05, 0.06, 0.07, 0.08, 0.08), marks=pytest.mark.slow),
        ({'warmup_steps': 4, 'warmup_hold': 2}, (0.04, 0.04, 0.06, 0.06, 0.08, 0.08)),  # by epochs of two steps
    ],
)
def test_dino_warms_its_teacher_temperature_up(changes, temperatures):
    method, rows, params, extra = begun('dino', teacher_temperature=0.08, **changes)
    for step, temperature in enumerate(temperatures):
        constant = small.make('dino', teacher_temperature=temperature)
        now = {**rows, 'step': jnp.asarray(step)}
        value, expected = (one_step(m, now, params, extra)[0] for m in (method, constant))
        np.testing.assert_allclose(value, expected, rtol=FLOAT32)


@pytest.mark.slow
def test_dino_last_layer_has_a_fixed_gain_unless_it_is_learned():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    weights = {'direction': jnp.asarray(np.random.default_rng(1).normal(size=(7, 4)), jnp.float32)}
    scores = last_layer(weights, z)
    assert float(jnp.abs(scores).max()) <= 1 + 1e-6
    longer = {'direction': weights['direction'] * jnp.arange(1.0, 8.0)[:, None]}
    np.testing.assert_allclose(last_layer(longer, 5 * z), scores, rtol=1e-4, atol=1e-6)
    _, _, params, extra = begun('dino', learn_gain=True)
    for tree in (params, extra['target']['params']):
        np.testing.assert_array_equal(tree['prototypes']['gain'], np.ones(12))
    doubled = last_layer({**weights, 'gain': jnp.full(7, 2.0)}, z)
    np.testing.assert_allclose(doubled, 2 * scores, rtol=FLOAT32)


def test_places_follow_crop_and_flip():
    params = {
        'box': jnp.asarray([[0.0, 0.0, 8.0, 8.0], [2.0, 4.0, 4.0, 2.0]]),
        'flip': jnp.asarray([False, True]),
    }
    at = np.asarray(places(params, 2, 2))
    np.testing.assert_allclose(at[0], [[2, 2], [2, 6], [6, 2], [6, 6]])
    np.testing.assert_allclose(at[1], [[3, 5.5], [3, 4.5], [5, 5.5], [5, 4.5]])


@pytest.mark.slow
def test_vicregl_weighs_its_global_and_local_parts():
    method, rows, params, extra = begun('vicregl', alpha=1.0)
    value, outputs, *_ = one_step(method, rows, params, extra)
    z1, z2 = outputs['embeddings']
    parts = losses.vicreg_terms(z1, z2)
    expected = 25 * parts['invariance'] + 25 * parts['variance'] + parts['covariance'] / 2  # averaged over views
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(outputs['features'][0], jnp.asarray(outputs['features'][0], jnp.float32))

    def gradient(alpha):
        return jax.grad(lambda p: one_step(small.make('vicregl', alpha=alpha), rows, p, extra)[0])(params)

    only_global, only_local = gradient(1.0), gradient(0.0)
    assert zero(only_global['local_projector']) and not zero(only_global['projector'])
    assert zero(only_local['projector']) and not zero(only_local['local_projector'])
    maps = [m.reshape(m.shape[0], -1, m.shape[-1]) for m in outputs['maps']]
    at = [places(p, *m.shape[1:3]) for p, m in zip(rows['view_params'], outputs['maps'], strict=True)]
    local = losses.vicregl_local(*maps, *at, matches=(2, 2))
    np.testing.assert_allclose(one_step(small.make('vicregl', alpha=0.0), rows, params, extra)[0], local, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('by_place', [False, True])
def test_vicregl_counts_matches_by_size_or_by_place_in_the_pair(by_place):
    method, rows, params, extra = begun('vicregl', alpha=0.0, matches=(3, 1), matches_by_place=by_place)
    value, outputs, *_ = one_step(method, rows, params, extra)
    maps = [m.reshape(m.shape[0], -1, m.shape[-1]) for m in outputs['maps']]
    at = [places(p, *m.shape[1:3]) for p, m in zip(rows['view_params'], outputs['maps'], strict=True)]
    count = (3, 1) if by_place else (3, 3)  # both maps are as large as the first
    expected = [losses.vicregl_local(maps[i], maps[1 - i], at[i], at[1 - i], matches=count) for i in range(2)]
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-4)
    other = losses.vicregl_local(*maps, *at, matches=(1, 1))
    assert abs(float(value - other)) > 1e-3


@pytest.mark.slow
def test_vicregl_features_are_the_mean_of_its_map():
    method, rows, params, extra = begun('vicregl')
    features = method.encode(method.network(params, extra), rows['views'][0])['features']
    variables = {'params': params['encoder'], 'batch_stats': extra['batch_stats']['encoder']}
    np.testing.assert_allclose(features, small.ENCODER.apply(variables, rows['views'][0]), rtol=FLOAT32)
    with pytest.raises(ValueError, match='feature maps'):
        small.methods.METHODS['vicregl'](models.ViT(dim=8, depth=1, heads=1, patch=4), small.PROJECTOR)
    with pytest.raises(ValueError, match='view_params of all 2 views'):
        one_step(method, {**rows, 'view_params': ()}, params, extra)


@pytest.mark.slow
def test_deepcluster_learns_nothing_before_its_first_clusters_and_remembers_every_image():
    method, rows = small.make('deepcluster_v2', data_size=20), {**small.batch(), 'index': jnp.arange(16)[::-1] + 3}
    params, extra = small.initial(method, rows)
    (value, (new, metrics)), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert float(value) == 0 and float(metrics['clustered']) == 0 and zero(gradients)
    memory = new['per_example']['memory']
    assert memory.shape == (PIECE, 2, 16)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    for crop, z in enumerate(outputs['embeddings']):
        unit = z / jnp.linalg.norm(z, axis=1, keepdims=True)
        np.testing.assert_allclose(memory[rows['index'], crop], unit, rtol=1e-4, atol=1e-6)
    assert zero(memory[:3]) and zero(memory[19:])

    _, refreshed, _ = method.refresh.update(params, new, jax.random.key(7), None)
    _, again, _ = method.refresh.update(params, new, jax.random.key(7), None)
    assert small.tree_distance(again, refreshed) == 0
    clusters = np.asarray(refreshed['per_example']['clusters'])
    assert (clusters[rows['index']] >= 0).all() and (clusters[:3] == -1).all() and (clusters[19:] == -1).all()
    np.testing.assert_allclose(jnp.linalg.norm(refreshed['prototypes'], axis=-1), 1, rtol=FLOAT32)
    value, _, _, _, metrics = one_step(method, rows, params, refreshed)
    assert float(value) > 0 and float(metrics['clustered']) == 1
    with pytest.raises(ValueError, match='prototypes=30 clusters cannot be made of 20 examples'):
        small.make('deepcluster_v2', data_size=20, prototypes=30)
