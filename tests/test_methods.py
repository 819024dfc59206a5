"""Every method through the same rows. A new method is a new entry of small.KEYWORDS."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from programs import losses
from selfsup import methods, signature
from selfsup.errors import UserError
from selfsup.methods.queue import enqueue

each = pytest.mark.parametrize('name', sorted(methods.METHODS))
# What a training step must move besides parameters, and what it must not.
MOVES = {
    'all4one': ('queue', 'pointer', 'target'),
    'beclr': ('target', 'memory', 'members', 'prototypes', 'pointer', 'filled'),
    'bootmae': ('target',),
    'byol': ('target',),
    'capi': ('target',),
    'cmae': ('target',),
    'data2vec': ('target',),
    'data2vec2': ('target',),
    'dinosr': ('target', 'codebooks'),
    'esimcse': ('queue', 'pointer', 'filled', 'target'),
    'ijepa': ('target',),
    'intl_m': ('target',),
    'moco_v1': ('queue', 'pointer', 'target'),
    'moco_v2': ('queue', 'pointer', 'target'),
    'moco_v3': ('target',),
    'nnclr': ('queue', 'pointer'),
    'nnbyol': ('queue', 'pointer', 'target'),
    'nnsiam': ('queue', 'pointer'),
    'colourisation': ('frequency',),
    'cluster_ns': ('centroids', 'started'),
    'clusternet': ('centres', 'counts'),
    'co2': ('queue', 'pointer', 'target'),
    'mochi': ('queue', 'pointer', 'target'),
    'moco_hard': ('queue', 'pointer', 'target'),
    'ressl': ('queue', 'pointer', 'target'),
    'deepcluster_v2': ('per_example',),
    'pcl': ('queue', 'pointer', 'target'),
    'scan': ('head_loss',),
    'scan_self_label': ('head_loss',),
    'instdisc': ('normalizer', 'per_example'),
    'invprop': ('per_example',),
    'pirl': ('normalizer', 'per_example'),
    'detcon': ('target',),
    'dino': ('target', 'centre'),
    'dinov2': ('target',),
    'ibot': ('target', 'centre', 'patch_centre'),
    'msn': ('target',),
    'swav': ('queue', 'pointer', 'filled'),
    'tico': ('target', 'covariance'),
    'unsee': ('target',),
    'abs_topk': ('idle',),
    'archetypal': ('idle',),
    'batch_topk': ('idle', 'threshold'),
    'csr': ('idle',),
    'gated': ('idle',),
    'jump_relu': ('idle',),
    'matching_pursuit': ('idle',),
    'matryoshka': ('idle', 'threshold'),
    'p_anneal': ('idle', 'norms'),
    'progressive': ('idle',),
    'relu_l1': ('idle',),
    'topk': ('idle',),
}
# Methods whose networks here have no batch-norm.
NO_STATISTICS = (
    'abs_topk',
    'archetypal',
    'batch_topk',
    'bootmae',
    'capi',
    'cpc',
    'crossmae',
    'csr',
    'data2vec',
    'data2vec2',
    'dinosr',
    'dinov2',
    'gated',
    'gmml',
    'ibot',
    'ijepa',
    'jump_relu',
    'mae',
    'maskfeat',
    'matching_pursuit',
    'matryoshka',
    'msn',
    'p_anneal',
    'progressive',
    'relu_l1',
    'jigsaw',
    'relative_patch',
    'rotation',
    'simmim',
    'topk',
)
# The loss is of the features, of a part or of pairs of them, or of heads on them.
NO_PROJECTOR = ('directclr', 'relational', 'scan', 'scan_self_label')
# Parameters of dictionaries, which are no networks.
OF_DICTIONARIES = ('dictionary', 'units')
# What stands still within an epoch.
KEEPS = {
    'archetypal': ('points',),
    'beclr': ('started',),
    'deepcluster': ('per_example', 'prototypes', 'sizes', 'whitening'),
    'deepcluster_v2': ('prototypes',),
    'deepercluster': ('per_example', 'prototypes', 'sizes', 'super_prototypes', 'whitening'),
    'jule': ('left', 'per_example', 'prototypes'),
    'p_anneal': ('factor',),
    'pcl': ('per_example', 'prototypes', 'temperatures'),
    'scan': ('per_example',),
    'sela': ('changed', 'per_example'),
    'unicom': ('per_example',),
}
# Keywords with which eight fixed images can be learned: groups of four, and a queue that 30 steps do not
# fill with the eight images themselves.
LEARNABLE = {
    'cpc': {'scale': 1.0},  # a tenth of the logits is nearly flat at first
    'diet': {'smoothing': 0.1},  # else most of the loss is the entropy of the labels
    # Else the centres, which begin at zero, take the common part of the scores away and the loss grows.
    'ibot': {'centre_momentum': 0.99, 'patch_centre_momentum': 0.99},
    'esimcse': {'queue': 8},  # a longer one, empty at the start, adds negatives as it fills
    'moco_v1': {'groups': 2, 'queue': 512},
    'moco_v2': {'groups': 2, 'queue': 512},
    **{name: {'groups': 2, 'queue': 512} for name in ('co2', 'mochi', 'moco_hard')},
    # Prototypes of an untrained network stand close together and hold the queries there until they are made anew.
    'pcl': {'groups': 2, 'queue': 512, 'prototype_start': 1000},
    'visreg': {'lambd': 0.1},  # new directions each step and eight rows: the shape is mostly noise
    'tico': {'beta': 0.0},  # else the covariance, which begins at zero, grows and the loss with it
}


def test_every_method_is_in_the_table():
    assert set(small.KEYWORDS) == set(methods.METHODS)


@each
def test_contract(name):
    constructor = methods.METHODS[name]
    networks = signature.networks(constructor)
    assert networks[:1] in ((), ('encoder',)) and set(networks) <= {'encoder', 'projector', 'predictor', 'decoder'}
    for parameter in inspect.signature(constructor).parameters.values():
        assert parameter.name in networks or parameter.kind == parameter.KEYWORD_ONLY, parameter
    method = small.make(name)
    rows = small.batch()
    params, extra = jax.eval_shape(lambda: small.started(method, rows))
    assert set(params) - {
        'prototypes', 'local_projector', 'patch_projector', 'feature_decoder', 'head', 'hypernetwork', 'operator', 'per_example', 'context', 'ahead',
        'second_predictor', 'transformer',
        *OF_DICTIONARIES,
    } == set(networks)  # fmt: skip
    assert method.views == 1 or name in NO_PROJECTOR or {'encoder', 'projector'} <= set(params)
    assert 'batch_stats' in extra
    outputs, _ = jax.eval_shape(method.embed, params, extra, rows, jax.random.key(1))
    for label in ('features', 'embeddings'):
        assert all(x.shape[0] == small.BATCH for x in outputs[label])
    encoded = jax.eval_shape(lambda *state: method.encode(method.network(*state), rows['views'][0]), params, extra)
    assert encoded['features'].shape == (small.BATCH, 16)
    assert encoded['embeddings'].dtype == jnp.float32


def train(method, steps=30, learning_rate=3e-3):
    rows = small.batch(8)
    params, extra = small.started(method, rows)
    optimizer = optax.adam(learning_rate)

    @jax.jit
    def step(carry, number):
        params, extra, state = carry
        (value, (extra, _)), gradients = small.loss_and_gradient(
            method, params, extra, rows, jax.random.fold_in(jax.random.key(1), number)
        )
        updates, state = optimizer.update(gradients, state)
        params, extra = method.after(optax.apply_updates(params, updates), extra, number)
        return (params, extra, state), value

    carry = first = (params, extra, optimizer.init(params))
    values = []
    for number in range(steps):
        carry, value = step(carry, number)
        values.append(float(value))
    return first, carry, values


@small.each(quick=('barlow_twins', 'ijepa'))
def test_thirty_steps_lower_the_loss_and_move_the_state(name):
    method = small.make(name, **LEARNABLE.get(name, {}))
    (params, extra, _), (new_params, new_extra, _), values = train(method)
    assert np.isfinite(values).all()
    assert values[-1] < 0.9 * values[0], values
    part = 'encoder' if 'encoder' in params else 'dictionary'
    assert small.tree_distance(new_params[part], params[part]) > 1e-3
    moving = MOVES.get(name, ()) if name in NO_STATISTICS else ('batch_stats', *MOVES.get(name, ()))
    for key in moving:
        assert small.tree_distance(new_extra[key], jax.tree.map(lambda x: x + 1e-9, extra[key])) > 1e-3, key
    for key in KEEPS.get(name, ()):
        assert small.tree_distance(new_extra[key], extra[key]) == 0, key
    assert set(new_extra) == {'batch_stats', *MOVES.get(name, ()), *KEEPS.get(name, ())}


def test_queue_is_first_in_first_out():
    queue, pointer = jnp.zeros((6, 1)), jnp.asarray(0)
    for number in range(1, 5):
        queue, pointer = enqueue(queue, pointer, jnp.full((2, 1), float(number)))
    np.testing.assert_array_equal(queue[:, 0], [4, 4, 2, 2, 3, 3])
    assert int(pointer) == 2
    with pytest.raises(ValueError, match='queue of 6 is not a multiple of the batch of 4'):
        enqueue(queue, pointer, jnp.zeros((4, 1)))


def test_moco_compares_with_the_queue_before_it_enters_it():
    """The current keys are never negatives at their own step, and the key network gets no gradient."""
    method = small.make('moco_v2')
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, jax.random.key(1))

    expected = losses.info_nce(outputs['embeddings'][0], outputs['keys'][0], extra['queue'][0], temperature=0.2)
    value, (new, _) = small.criterion(method, params, outputs, extra, rows, jax.random.key(1))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(new['queue'][0, : small.BATCH], outputs['keys'][0], rtol=1e-6)

    def through_keys(target):
        changed = {**extra, 'target': {**extra['target'], 'params': target}}
        out, after = small.embed(method, params, changed, rows, jax.random.key(1))
        return small.criterion(method, params, out, after, rows, jax.random.key(1))[0]

    gradients = jax.grad(through_keys)(extra['target']['params'])
    assert all(float(jnp.abs(g).max()) == 0 for g in jax.tree.leaves(gradients))


def test_moco_moves_its_target_before_the_next_key():
    """`after` of step t − 1 with m(t) is the authors' update before the key forward of step t."""
    seen = []

    def momentum(step):
        seen.append(int(step))
        return 0.9

    method = small.make('moco_v2', momentum=momentum)
    params, extra = small.started(method, small.batch())
    moved = jax.tree.map(lambda x: x + 1.0, params)
    _, after = method.after(moved, extra, jnp.asarray(4))
    assert seen == [5]
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, extra['target']['params'], moved)
    assert small.tree_distance(after['target']['params'], expected) < 1e-6


def test_moco_groups_hide_the_batch_from_the_key():
    """With groups, a query and its key rarely share the examples that normalise them."""
    rows = small.batch()
    grouped = small.make('moco_v2', groups=4)
    params, extra = small.started(grouped, rows)
    same = {**rows, 'views': (rows['views'][0], rows['views'][0])}

    def cosine(method):
        outputs, _ = small.embed(method, params, extra, same, jax.random.key(2))
        return float(jnp.mean(jnp.sum(outputs['embeddings'][0] * outputs['keys'][0], axis=-1)))

    assert cosine(small.make('moco_v2', groups=1)) > 1 - 1e-5  # one batch: equal images, equal outputs
    assert cosine(grouped) < 1 - 1e-4


# Methods with a momentum network, and the step whose momentum `after` of step 4 uses.
TIMING = {'byol': 4, 'moco_v1': 5, 'moco_v2': 5, 'moco_v3': 5, 'ressl': 5}


def value_of(method, params, extra, rows):
    return small.loss_and_gradient(method, params, extra, rows, jax.random.key(1))[0]


@small.each(TIMING, quick=('moco_v2',))
def test_targets_get_no_gradient_and_keep_their_own_statistics(name):
    method = small.make(name)
    rows = small.batch()
    params, extra = small.started(method, rows)

    def through_target(target):
        return value_of(method, params, {**extra, 'target': {**extra['target'], 'params': target}}, rows)[0]

    gradients = jax.grad(through_target)(extra['target']['params'])
    assert all(float(jnp.abs(g).max()) == 0 for g in jax.tree.leaves(gradients))
    assert set(extra['target']['params']) == {'encoder', 'projector'}
    _, (new, _) = value_of(method, params, extra, rows)
    for part in ('encoder', 'projector'):  # moved by the target's own forward pass
        assert small.tree_distance(new['target']['batch_stats'][part], extra['target']['batch_stats'][part]) > 1e-3
    _, moved = method.after(params, new, 0)  # the moving average is of parameters alone
    assert small.tree_distance(moved['target']['batch_stats'], new['target']['batch_stats']) == 0


@small.each(TIMING, quick=('byol', 'moco_v2'))
def test_momentum_is_taken_at_the_right_step(name):
    """`after` of step 4: BYOL moves its target with m(4), after the optimiser; MoCo before the key of step 5, with m(5)."""
    seen = []

    def momentum(step):
        seen.append(int(step))
        return 0.9

    method = small.make(name, momentum=momentum)
    params, extra = small.started(method, small.batch())
    moved = jax.tree.map(lambda x: x + 1.0, params)
    _, after = method.after(moved, extra, jnp.asarray(4))
    assert seen == [TIMING[name]]
    old = extra['target']['params']
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, old, {k: moved[k] for k in old})
    assert small.tree_distance(after['target']['params'], expected) < 1e-6


def test_targets_start_equal_except_byols():
    """BYOL's target has an initialisation of its own; MoCo's and ReSSL's start as copies."""
    for name in TIMING:
        params, extra = small.started(small.make(name), small.batch())
        distance = small.tree_distance(extra['target']['params'], {k: params[k] for k in ('encoder', 'projector')})
        assert distance > 0.1 if name == 'byol' else distance == 0, name


def test_byol_compares_predictions_with_the_other_views_targets():
    method = small.make('byol')
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, jax.random.key(1))
    (p1, p2), (z1, z2) = outputs['predictions'], outputs['targets']
    cosine = lambda a, b: optax.losses.cosine_similarity(a, b)  # noqa: E731
    expected = jnp.mean(2 - 2 * cosine(p1, z2)) + jnp.mean(2 - 2 * cosine(p2, z1))
    np.testing.assert_allclose(value_of(method, params, extra, rows)[0], expected, rtol=1e-5)


def test_moco_v3_sums_both_directions():
    method = small.make('moco_v3')
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, jax.random.key(1))
    expected = 0.0
    for own, other in ((0, 1), (1, 0)):
        logits = (
            losses._common.normalize(outputs['predictions'][own])
            @ losses._common.normalize(outputs['targets'][other]).T
        )
        labels = jnp.arange(small.BATCH)
        expected += 0.4 * jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits / 0.2, labels))
    np.testing.assert_allclose(value_of(method, params, extra, rows)[0], expected, rtol=1e-5)


@pytest.mark.slow
def test_simsiam_stops_one_branch_and_no_more():
    """The gradient is that of the predictions with the embeddings of the other view held fixed."""
    method, free = small.make('simsiam'), small.make('simsiam', stop_gradient=False)
    rows = small.batch()
    params, extra = small.started(method, rows)
    fixed = small.embed(method, params, extra, rows, jax.random.key(1))[0]['embeddings']

    def by_hand(p):
        p1, p2 = small.embed(method, p, extra, rows, jax.random.key(1))[0]['predictions']
        cosine = optax.losses.cosine_similarity
        return -(jnp.mean(cosine(p1, fixed[1])) + jnp.mean(cosine(p2, fixed[0]))) / 2

    _, gradients = small.loss_and_gradient(method, params, extra, rows, jax.random.key(1))
    assert small.tree_distance(gradients, jax.grad(by_hand)(params)) < 1e-4
    assert (
        small.tree_distance(small.loss_and_gradient(free, params, extra, rows, jax.random.key(1))[1], gradients) > 0.1
    )


@pytest.mark.slow
def test_nnclr_looks_up_before_the_first_view_enters_its_queue():
    method = small.make('nnclr')
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, jax.random.key(1))
    (z1, z2), (p1, p2) = outputs['embeddings'], outputs['predictions']
    queue = extra['queue']
    expected = sum(losses.nnclr(p, z, queue, temperature=0.2) for p, z in ((p2, z1), (p1, z2))) / 2
    value, (new, _) = value_of(method, params, extra, rows)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    unit = z1 / jnp.linalg.norm(z1, axis=1, keepdims=True)
    np.testing.assert_allclose(new['queue'][: small.BATCH], unit, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(new['queue'][small.BATCH :], queue[small.BATCH :])

    def through_embeddings(z):  # the neighbour and the queue's rows carry no gradient: only predictions learn
        out = {**outputs, 'embeddings': z}
        loss, (after, _) = small.criterion(method, params, out, extra, rows, jax.random.key(1))
        return loss + jnp.sum(after['queue'])

    assert not any(np.any(g) for g in jax.grad(through_embeddings)((z1, z2)))


def test_ressl_compares_relations_with_the_queue_before_it_enters_it():
    method = small.make('ressl')
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, jax.random.key(1))
    assert (
        len(outputs['embeddings']) == len(outputs['keys']) == 1
    )  # the first view is the student's, the second the teacher's
    value, (new, _) = value_of(method, params, extra, rows)
    expected = losses.ressl(outputs['embeddings'][0], outputs['keys'][0], extra['queue'][0])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(new['queue'][0, : small.BATCH], outputs['keys'][0], rtol=1e-6)
    other = {**rows, 'views': rows['views'][::-1]}
    assert not np.allclose(value_of(method, params, extra, other)[0], value)


def test_methods_of_labels_are_declared_to_see_them_and_others_do_not():
    for name in small.KEYWORDS:
        assert small.make(name).uses_labels == (name in ('clusternet', 'metric', 'supcon'))
    method = small.make('supcon')
    rows = small.batch()
    params, extra = small.started(method, rows)
    alone = value_of(method, params, extra, {**rows, 'label': jnp.arange(small.BATCH)})[0]
    np.testing.assert_allclose(alone, value_of(small.make('simclr'), params, extra, rows)[0], rtol=1e-6)
    assert not np.allclose(value_of(method, params, extra, {**rows, 'label': jnp.zeros(small.BATCH, int)})[0], alone)


def test_moco_v1_is_v2_with_its_own_temperature():
    rows = small.batch()
    first, second = small.make('moco_v1'), small.make('moco_v2', temperature=0.07)
    params, extra = small.started(first, rows)
    np.testing.assert_array_equal(value_of(first, params, extra, rows)[0], value_of(second, params, extra, rows)[0])


@pytest.mark.slow
def test_a_missing_predictor_leaves_the_embeddings_in_its_place():
    """The papers' ablations that collapse."""
    rows = small.batch()
    for name in ('byol', 'simsiam', 'moco_v3', 'nnclr'):
        method = methods.METHODS[name](small.ENCODER, small.PROJECTOR, None, **small.KEYWORDS[name])
        params, extra = small.started(method, rows)
        assert set(params) == {'encoder', 'projector'}
        assert np.isfinite(value_of(method, params, extra, rows)[0])


def test_views_fused_or_apart_differ_only_by_batch_statistics():
    rows = small.batch()
    apart, fused = small.make('simclr', fuse_views=False), small.make('simclr', fuse_views=True)
    params, extra = small.started(apart, rows)
    a, _ = small.embed(apart, params, extra, rows, jax.random.key(0))
    b, _ = small.embed(fused, params, extra, rows, jax.random.key(0))
    assert not np.allclose(a['embeddings'][0], b['embeddings'][0], atol=1e-4)
    same = {**rows, 'views': (rows['views'][0],) * 2}
    a, _ = small.embed(apart, params, extra, same, jax.random.key(0))
    b, _ = small.embed(fused, params, extra, same, jax.random.key(0))
    np.testing.assert_allclose(a['embeddings'][0], b['embeddings'][0], atol=1e-4)


def test_hyper_parameters_may_be_traced():
    rows = small.batch()
    params, extra = small.started(small.make('vicreg'), rows)

    def value(weight):
        method = small.make('vicreg', invariance_weight=weight)
        return small.loss_and_gradient(method, params, extra, rows, jax.random.key(0))[0][0]

    many = jax.jit(jax.vmap(value))(jnp.array([1.0, 25.0]))
    np.testing.assert_allclose(many, [value(1.0), value(25.0)], rtol=1e-5)


@pytest.mark.parametrize('name', ['vicreg', 'supcon'])
def test_one_view_is_refused(name):
    rows = small.batch()
    one = {**rows, 'views': rows['views'][:1]}
    method = small.make(name)
    params, extra = small.started(method, rows)
    with pytest.raises(UserError, match='needs 2 views, and gets 1'):
        small.loss_and_gradient(method, params, extra, one, jax.random.key(0))
