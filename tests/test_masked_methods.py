"""Methods that predict hidden patches: what each sees, predicts and moves, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from programs import called, compiled, losses, patchify, unpatchify
from selfsup import config, methods, models
from selfsup.augment import masking
from selfsup.engine.controls import controlled
from selfsup.errors import UserError
from selfsup.methods.base import view_keys
from tolerances import FLOAT32

NAMES = ('bootmae', 'capi', 'crossmae', 'data2vec', 'data2vec2', 'dinosr', 'ijepa', 'maskfeat', 'simmim')
TARGETED = ('bootmae', 'capi', 'data2vec', 'data2vec2', 'dinosr', 'ijepa')
# What else a method keeps, and what its criterion measures besides the share that is explained.
STATE = {'dinosr': {'codebooks'}}
MEASURED = {
    'bootmae': {'pixel_loss', 'token_loss', 'explained_tokens', 'target_deviation'},
    'capi': {'prediction_loss', 'clustering_loss', 'target_entropy', 'prototypes_used'},
    'data2vec': {'target_deviation'},
    'data2vec2': {'target_deviation'},
    'dinosr': {'target_perplexity', 'prediction_perplexity'},
    'ijepa': {'target_deviation'},
}
KEY = jax.random.key(3)
QUICK = ('crossmae', 'ijepa')  # a cross decoder and no target; blocks and a target


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def unseen(rows):
    return {name: value for name, value in rows.items() if name != 'views'}


def value_of(method, params, extra, rows, shuffled=False):
    """The criterion, with the targets of the control if `shuffled`, which may be traced: one program for both."""
    outputs, extra = method.embed(params, extra, rows, KEY)
    other = controlled('shuffled_targets', outputs)
    outputs = jax.tree.map(lambda own, given: jnp.where(shuffled, given, own), outputs, other)
    return method.criterion(params, outputs, extra, unseen(rows), KEY)


# Shapes of what 16 images of 8 x 8 with patches of 2 give; I-JEPA's blocks have up to 4 patches of 16.
SHAPES = {
    'bootmae': {
        'predictions': (16, 16, 4),
        'token_predictions': (16, 16, 16),
        'targets': {'pixels': (16, 16, 4), 'tokens': (16, 16, 16)},
        'weights': (16, 16),
    },
    'capi': {'predictions': (16, 5, 16), 'targets': (16, 16, 16), 'places': (16, 5)},
    'dinosr': {
        'predictions': (16, 8, 2, 6),
        'targets': (16, 16, 2, 16),
        'places': (16, 8),
        'counted': (16, 8),
    },
    'crossmae': {'predictions': (16, 4, 4), 'targets': (16, 16, 4), 'places': (16, 4)},
    'maskfeat': {'predictions': (16, 16, 36), 'targets': (16, 16, 36), 'counted': (16, 16)},
    'simmim': {'predictions': (16, 16, 4), 'targets': (16, 16, 4), 'hidden': (16, 16)},
    'data2vec': {'predictions': (16, 16, 16), 'targets': (16, 16, 16), 'counted': (16, 16)},
    'data2vec2': {
        'predictions': (16, 2, 16, 16),
        'class_predictions': (16, 2, 16),
        'targets': (16, 16, 16),
        'counted': (16, 2, 16),
    },
    'ijepa': {'predictions': (16, 16, 16), 'targets': (16, 16, 16), 'places': (16, 16), 'counted': (16, 16)},
}


@small.each(NAMES, quick=QUICK)
def test_what_a_method_says_it_needs_and_gives(name):
    method, rows = small.make(name), one_view()
    params, extra = small.initial(method, rows)
    outputs, new = small.embed(method, params, extra, rows, KEY)
    assert (method.views, method.control, method.uses_labels) == (1, 'shuffled_targets', False)
    shapes = jax.tree.map(jnp.shape, {k: outputs[k] for k in outputs.keys() - {'features', 'embeddings'}})
    assert shapes == SHAPES[name]
    assert [z.shape for z in (*outputs['features'], *outputs['embeddings'])] == [(16, 16)] * 2
    jax.tree.map(np.testing.assert_array_equal, new, extra)  # nothing moves before `after`
    target = {'target'} if name in TARGETED else set()
    assert set(extra) == {'batch_stats', *target, *STATE.get(name, set())}


@small.each(NAMES, quick=QUICK)
def test_the_evaluated_network_sees_whole_images(name):
    method, rows = small.make(name), one_view()
    params, extra = small.initial(method, rows)
    if name in TARGETED:
        _, extra = compiled(method.after)(jax.tree.map(lambda x: np.asarray(x) + 1, params), extra, 0)
    evaluated = extra['target']['params'] if name in ('capi', 'ijepa') else params
    encoder = small.OWN_NETWORKS[name]['encoder']
    expected = compiled(encoder.apply)({'params': evaluated['encoder']}, rows['views'][0])
    found = compiled(method.encode)(method.network(params, extra), rows['views'][0])
    np.testing.assert_allclose(found['features'], expected, atol=FLOAT32)


def with_pixels(rows, marked, value):
    """The batch with the pixels of marked patches `[batch, patches]` replaced."""
    patches = np.where(marked[..., None], np.float32(value), patchify(rows['views'][0], 2))
    return {**rows, 'views': (unpatchify(patches, 2, (4, 4)),)}


def masked_places(name, outputs):
    """Which patches of each image no token of the encoder has seen."""
    if name == 'data2vec2':
        return outputs['counted'].all(axis=1)
    if 'places' not in outputs:
        return next(outputs[label] for label in ('hidden', 'counted', 'weights') if label in outputs) > 0
    rows = jnp.arange(small.BATCH)[:, None]
    real = outputs.get('counted', jnp.ones(outputs['places'].shape, bool))
    return jnp.zeros((small.BATCH, 16), bool).at[rows, outputs['places']].max(real)


@small.each(NAMES, quick=QUICK)
def test_hidden_pixels_reach_the_targets_alone(name):
    method, rows = small.make(name), one_view()
    params, extra = small.initial(method, rows)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), jax.device_get(params))
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    hidden = masked_places(name, outputs)
    other, _ = small.embed(method, params, extra, with_pixels(rows, hidden, 5.0), KEY)
    for label in outputs.keys() - {'targets'}:
        jax.tree.map(np.testing.assert_array_equal, outputs[label], other[label])
    assert small.tree_distance(outputs['targets'], other['targets']) > 0.1
    seen, _ = small.embed(method, params, extra, with_pixels(rows, ~hidden, 5.0), KEY)
    assert float(jnp.abs(outputs['predictions'] - seen['predictions']).max()) > 1e-3


# What no gradient reaches, as in the authors' code: CrossMAE's decoder norms the blocks' outputs itself.
UNTRAINED = {'crossmae': "['encoder']['norm']"}


@small.each(NAMES, quick=QUICK)
def test_every_parameter_gets_a_finite_gradient(name):
    method, rows = small.make(name), one_view()
    params, extra = small.initial(method, rows)
    (value, (_, metrics)), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert np.isfinite(value)
    assert set(metrics) == {'explained_share', *MEASURED.get(name, ())}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        where = jax.tree_util.keystr(path)
        trained = not where.startswith(UNTRAINED.get(name, 'none'))
        assert np.isfinite(leaf).all() and (np.abs(leaf).max() > 0) == trained, where


@small.each(TARGETED, quick=QUICK)
def test_the_target_gets_no_gradient_and_moves_after_the_step(name):
    """`after` of step 4 takes m(4); the target starts equal to the encoder."""
    method, rows = small.make(name, momentum=lambda step: jnp.where(step == 4, 0.75, 0.5)), one_view()
    params, extra = small.initial(small.make(name), rows)
    start = extra['target']['params']
    jax.tree.map(np.testing.assert_array_equal, start, {'encoder': params['encoder']})

    def through_target(target):
        return value_of(method, params, {**extra, 'target': {**extra['target'], 'params': target}}, rows)[0]

    assert not any(np.any(x) for x in jax.tree.leaves(jax.jit(jax.grad(through_target))(start)))
    moved = jax.tree.map(lambda x: np.asarray(x) + 1, params)
    _, later = compiled(method.after)(moved, extra, 4)
    start = jax.device_get(start)
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, start, {'encoder': moved['encoder']})
    assert small.tree_distance(later['target']['params'], expected) < 1e-6


@pytest.mark.slow
def test_data2vec_predicts_the_averaged_last_blocks_of_whole_images():
    method, rows = small.make('data2vec'), one_view()
    params, extra = small.initial(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    encoder = small.OWN_NETWORKS['data2vec']['encoder']
    frozen = {'params': extra['target']['params']['encoder']}
    layers = called(encoder.apply, frozen, rows['views'][0], method='tokens', blocks=2, of='block')
    expected = losses.averaged_layers(tuple(h[:, 1:] for h in layers))
    np.testing.assert_allclose(outputs['targets'], expected, atol=1e-4)
    value = small.criterion(method, params, outputs, extra, unseen(rows), KEY)[0]
    expected = losses.masked_smooth_l1(outputs['predictions'], expected, outputs['counted'], beta=2.0)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


@pytest.mark.slow
def test_data2vec2_shares_the_target_among_masks_that_are_alone_otherwise():
    """Each mask is what the encoder and the decoder make of it alone; the loss is the formula's."""
    method, rows = small.make('data2vec2'), one_view()
    params, extra = small.initial(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    encoder = small.OWN_NETWORKS['data2vec2']['encoder']
    images, counted = rows['views'][0], outputs['counted']
    assert (counted.sum(axis=2) == 8).all() and bool((counted[:, 0] != counted[:, 1]).any())
    shown = np.argsort(counted[:, 1], axis=1)[:, :8]  # of each image's second mask, in another order
    tokens = called(encoder.apply, {'params': params['encoder']}, images, method='tokens', keep=shown)
    np.testing.assert_allclose(outputs['class_predictions'][:, 1], tokens[:, 0], atol=1e-4)
    frozen = {'params': extra['target']['params']['encoder']}
    layers = called(encoder.apply, frozen, images, method='tokens', blocks=2, of='mlp')
    targets = losses.averaged_layers(tuple(h[:, 1:] for h in layers), instance=True)
    np.testing.assert_allclose(outputs['targets'], targets, atol=1e-4)
    squares = np.square(np.asarray(outputs['predictions']) - np.asarray(targets)[:, None]).sum(axis=-1) / 4  # sqrt(16)
    tops = np.square(np.asarray(outputs['class_predictions']) - np.asarray(targets.mean(axis=1))[:, None]).sum(-1) / 4
    expected = squares[np.asarray(counted)].mean() + 2.56 * tops.mean()
    value = small.criterion(method, params, outputs, extra, unseen(rows), KEY)[0]
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_ijepa_predicts_each_block_apart_from_the_others():
    """As the authors' predictor does, whose batch is repeated for every block; entries that only fill up do not count."""
    method, rows = small.make('ijepa'), one_view()
    params, extra = small.initial(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    encoder, predictor = (small.OWN_NETWORKS['ijepa'][n] for n in ('encoder', 'predictor'))
    frozen = {'params': extra['target']['params']['encoder']}
    tokens = losses.standardize_tokens(called(encoder.apply, frozen, rows['views'][0], method='tokens'))
    np.testing.assert_allclose(outputs['targets'], tokens, atol=FLOAT32)
    targets = np.take_along_axis(tokens, np.asarray(outputs['places'])[..., None], axis=1)
    value = small.criterion(method, params, outputs, extra, unseen(rows), KEY)[0]
    expected = losses.masked_smooth_l1(outputs['predictions'], targets, outputs['counted'])
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert 0 < outputs['counted'].mean() <= 1
    # The first block of the first image, of its real patches alone, from the real context alone.
    keys = compiled(lambda rows: view_keys(rows, 1)(0))(rows)
    mask = called(masking.multi_block, keys, grid=(4, 4), context=6, scale=(0.15, 0.25), least=4)
    context, block = mask.context[0][mask.context_valid[0]], mask.targets[0, 1][mask.targets_valid[0, 1]]
    own = called(
        encoder.apply, {'params': params['encoder']}, rows['views'][0][:1], method='tokens', keep=context[None]
    )
    alone = jax.jit(
        lambda p, own, context, block: predictor.clone(out=16).apply({'params': p}, own, context, (4, 4), block)
    )(params['predictor'], own, context[None], block[None])
    size = mask.targets.shape[2]
    found = np.asarray(outputs['predictions'])[0, size : 2 * size][mask.targets_valid[0, 1]]
    np.testing.assert_allclose(found, alone[0], atol=1e-4)


# Networks and masks with which 16 images of 8 x 8 can be learned in 200 steps.
LEARNABLE = {
    'bootmae': {'momentum': 0.98},
    'capi': {'momentum': 0.98},
    'dinosr': {'momentum': 0.98},
    'crossmae': {},
    'maskfeat': {},
    'simmim': {},
    'data2vec': {'momentum': 0.98},
    'data2vec2': {'momentum': 0.98},
    'ijepa': {'momentum': 0.98},
}


def ramps(name):
    """Images that a part of them tells: ramps with a slope, or for directions of gradients an angle, of their own."""
    drawn, line = jax.random.normal(jax.random.key(0), (small.BATCH, 1, 1, 1)), jnp.linspace(-1, 1, 8)
    down, across = (jnp.broadcast_to(x, (1, 8, 8, 1)) for x in (line[None, :, None, None], line[None, None, :, None]))
    return jnp.cos(3 * drawn) * down + jnp.sin(3 * drawn) * across if name == 'maskfeat' else drawn * down


def explained_after(name, steps=200):
    """What is explained at the end of a short training on ramps, and at that of the control."""
    method = small.make(name, **LEARNABLE[name])
    images = ramps(name)
    rows = {**one_view(), 'views': (images,)}
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, extra, state, number, shuffled):
        keys = jax.random.split(jax.random.fold_in(KEY, number), small.BATCH)
        order = jax.random.permutation(jax.random.fold_in(KEY, number), small.BATCH)
        now = {**rows, 'keys': keys, 'views': (images[order],)}
        (_, (extra, metrics)), gradients = jax.value_and_grad(
            lambda p: value_of(method, p, extra, now, shuffled), has_aux=True
        )(params)
        updates, state = optimizer.update(gradients, state)
        params, extra = method.after(optax.apply_updates(params, updates), extra, number)
        return params, extra, state, metrics

    ends = []
    for shuffled in (False, True):
        params, extra = small.initial(small.make(name), one_view())
        state, found = compiled(optimizer.init)(params), []
        for number in range(steps):
            params, extra, state, metrics = step(params, extra, state, number, shuffled)
            found.append(metrics)
        found = jax.device_get(found[-20:])
        ends.append({key: float(np.mean([m[key] for m in found])) for key in found[0]})
    return ends


# Trained in the quick suite: one method of pixels and one with a target network.
TRAINED = ('simmim',)


@pytest.mark.slow
@pytest.mark.parametrize('name', [pytest.param(n, marks=[pytest.mark.slow] * (n not in TRAINED)) for n in NAMES])
def test_training_explains_the_targets_and_the_control_does_not(name):
    trained, control = explained_after(name)
    share, other = trained['explained_share'], control['explained_share']
    assert share > 0.2 and other < 0.25 and share - other > 0.2, (trained, control)
    assert trained.get('target_deviation', 1.0) > 0.1


VIT, LINEAR = small.VIT, models.LinearDecoder()
PREDICTOR = models.TransformerDecoder(dim=8, depth=1, heads=2)
CROSS = models.CrossDecoder(dim=8, depth=1, heads=2)


def started(name, *networks, **keywords):
    return lambda: small.initial(methods.METHODS[name](*networks, **keywords), one_view())


BAD = {
    'decoder of bootmae': (started('bootmae', VIT, PREDICTOR, CROSS), "bootmae needs a decoder of kind 'cross', not Trans"),
    'predictor of bootmae': (started('bootmae', VIT, CROSS, LINEAR), "bootmae needs a predictor of kind 'cross', not Lin"),
    'shallow': (started('bootmae', VIT, CROSS, CROSS, shallow=2), 'method.shallow=2 must be at most model.depth=1'),
    'hidden by bootmae': (started('bootmae', VIT, CROSS, CROSS, ratio=0.01), 'method.ratio=0.01: .*not 0'),
    'predictor of capi': (started('capi', VIT, PREDICTOR), "capi needs a predictor of kind 'cross', not Transformer"),
    'patches of capi': (started('capi', VIT, CROSS.clone(self_attention=True)), 'set predictor.self_attention=False'),
    'predicted by capi': (started('capi', VIT, CROSS), 'method.predict=0.05 predicts none of 10 hidden patches'),
    'hidden by capi': (started('capi', VIT, CROSS, ratio=0.01), 'method.ratio=0.01: .* 0.01 leaves 16'),
    'decoder of crossmae': (started('crossmae', VIT, PREDICTOR), "crossmae needs a decoder of kind 'cross', not Transformer"),
    'predicted': (started('crossmae', VIT, CROSS, predict=0.8), 'method.predict=0.8 must be at most method.ratio=0.75'),
    'nothing predicted': (started('crossmae', VIT, CROSS, predict=0.0), 'method.predict=0.0 predicts none of the 16'),
    'heads': (started('crossmae', VIT, CROSS.clone(heads=3)), 'dim=8 of the decoder must be a multiple of 4 and of heads=3'),
    'encoder': (started('ijepa', small.ENCODER, PREDICTOR), 'ijepa needs an encoder of patches .*, not ConvNet'),
    'predictor': (started('ijepa', VIT, small.PREDICTOR), "a predictor of kind 'transformer', not MLP .*predictor.kind"),
    'cross predictor': (started('ijepa', VIT, CROSS), "a predictor of kind 'transformer', not CrossDecoder"),
    'linear predictor': (started('ijepa', VIT, LINEAR), "a predictor of kind 'transformer', not LinearDecoder"),
    'cells': (started('maskfeat', VIT, LINEAR, cells=4), 'method.cells=4 must divide model.patch=2'),
    'head': (started('simmim', VIT, small.PROJECTOR), "simmim needs a decoder of kind 'linear', not MLP"),
    'decoder of mae': (started('mae', VIT, LINEAR), "the encoder sees 4 of 16 patches; take decoder.kind='transformer'"),
    'layers of dinosr': (started('dinosr', VIT, LINEAR), 'method.layers=8 must be at most model.depth=1'),
    'layers': (started('data2vec', VIT, LINEAR, layers=3), 'method.layers=3 must be at most model.depth=1'),
    'no class token': (
        started('data2vec2', VIT.clone(class_token=False), models.ConvolutionalDecoder(channel_groups=4), layers=1),
        'data2vec2 trains the class token; set model.class_token=True',
    ),
    'groups': (
        started('data2vec2', VIT, models.ConvolutionalDecoder(dim=8, channel_groups=3), layers=1, length=1),
        'decoder.channel_groups=3 must divide decoder.dim=8 and model.dim=16',
    ),
    'nothing shown': (
        started('data2vec2', VIT, models.ConvolutionalDecoder(dim=8, channel_groups=4), layers=1, ratio=0.95),
        'method.ratio=0.95, method.length=3, method.adjust=0.07: ratio must hide some of 16 patches',
    ),
    'nothing hidden': (started('data2vec', VIT, LINEAR, layers=1, ratio=0.01), 'method.ratio=0.01: .*not 0'),
    'all units': (started('simmim', VIT, LINEAR, ratio=0.9), 'method.ratio=0.9, method.unit=2: ratio must hide'),
    'units': (started('simmim', VIT, LINEAR, unit=3), 'units of 3x3 patches do not tile a grid of 4x4'),
    'patch': (started('simmim', VIT.clone(patch=3), LINEAR), 'model.patch=3 does not divide images of 8x8'),
    'grid': (started('data2vec', VIT.clone(patch=8), LINEAR, layers=1), 'a grid of 1x1 patches|must hide at least one'),
    'blocks': (started('ijepa', VIT, PREDICTOR, context=4, scale=(0.01, 0.2)), 'method.least: a grid of 4x4 patches is too'),
    'context': (started('ijepa', VIT, PREDICTOR, least=4), 'context from 1 to 16, not 55'),
}  # fmt: skip


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used_is_refused_in_one_line(call, message):
    with pytest.raises(UserError, match=message) as refused:
        call()
    assert '\n' not in str(refused.value)


def test_a_config_that_leaves_the_predictor_at_its_default_is_told_the_kind():
    c = config.defaults()
    c.method.name = 'ijepa'
    c.model.name = 'vit_ti'
    with pytest.raises(UserError, match="is no predictor of ijepa; set predictor.kind='transformer'"):
        config.with_overrides(c, [])
