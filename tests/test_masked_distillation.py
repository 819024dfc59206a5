"""iBOT and DINOv2: masks, what the student and the teacher see, the losses by their formulas, and the controls."""

import jax
import numpy as np
import pytest
import small
from programs import called, compiled, losses
from selfsup.engine.controls import controlled
from selfsup.errors import UserError
from selfsup.methods import dinov2, ibot
from selfsup.methods.distillation.dino import last_layer, unit_scores
from selfsup.methods.masked.distillation import beside, draw_masks
from tolerances import FLOAT32

KEY = jax.random.key(3)
ENCODER, PROJECTOR = small.TOKENS['encoder'], small.TOKENS['projector']
both = small.each(['dinov2', 'ibot'], quick=('ibot',))


def zero(tree):
    return not any(np.any(x) for x in jax.tree.leaves(tree))


def begun(name, rows=None, **changes):
    """A method, a batch, and the parameters, which depend on the heads alone."""
    rows = small.batch() if rows is None else rows
    shaping = {field: value for field, value in changes.items() if field in ('patch_head', 'patch_prototypes')}
    return (small.make(name, **changes), rows, *small.started(small.make(name, **shaping), small.batch()))


def value_of(method, rows, params, extra, control='none'):
    outputs, extra = method.embed(params, extra, rows, KEY)
    return method.criterion(params, controlled(control, outputs), extra, rows, KEY)


def multicrop(rows):
    return {**rows, 'views': (*rows['views'], *(v[:, 1:7, 1:7] for v in rows['views']))}


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize('kind', ['block', 'random'])
def test_half_of_the_crops_are_masked_by_a_tenth_to_a_half(kind):
    """As often and as much as the authors' loader: 52 % unmasked, a mean of 0.30 of the others on 8 x 8 patches."""
    fields = {'kind': kind, 'share': 0.5, 'ratio': (0.1, 0.5), 'least': 0}
    hidden = jax.jit(lambda k: draw_masks(k, (8, 8), **fields))(keys(4000))
    hidden = np.asarray(hidden)
    share = hidden.mean(1)
    assert share.max() <= 0.5 and (share[share > 0].min() >= 0.05)
    np.testing.assert_allclose((share == 0).mean(), 0.5, atol=0.04)
    np.testing.assert_allclose(share[share > 0].mean(), 0.29, atol=0.015)
    if kind == 'random':  # the counts are exact: 6 to 31 of 64
        assert set(np.unique(64 * share)) == {0, *range(6, 32)}
        np.testing.assert_allclose(hidden.mean(0), hidden.mean(), atol=0.03)


def shown_and_hidden(name, **changes):
    """A step's outputs, and those after every hidden pixel has changed."""
    method, rows, params, extra = begun(name, mask_share=1.0, **changes)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    fields = {'kind': 'block', 'share': 1.0, 'ratio': (0.1, 0.5), 'least': 4 if name == 'dinov2' else 0}

    def drawn(keys):
        keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.fold_in(k, 2), 0))(keys)
        return draw_masks(keys, (4, 4), **fields)

    mask = np.asarray(jax.jit(drawn)(rows['keys']))
    pixels = mask.reshape(-1, 4, 4).repeat(2, 1).repeat(2, 2)[..., None]
    other = np.where(pixels, np.float32(5), rows['views'][0])
    changed, _ = small.embed(method, params, extra, {**rows, 'views': (other, rows['views'][1])}, KEY)
    return outputs, changed, mask


@pytest.mark.slow
@both
def test_the_student_does_not_see_hidden_pixels_and_the_teacher_does(name):
    outputs, changed, mask = shown_and_hidden(name)
    outputs, changed = jax.device_get((outputs, changed))
    np.testing.assert_array_equal(outputs['hidden'][0].sum(1), mask.sum(1))
    for label in ('features', 'embeddings', 'patches'):
        np.testing.assert_allclose(outputs[label][0], changed[label][0], atol=1e-6)
    seen = np.abs(outputs['targets']['class'][0] - changed['targets']['class'][0]).max(1)
    assert (seen[mask.any(1)] > 1e-4).all()


DEFAULTS = (('dinov2', 'own'), ('ibot', 'shared'))
HEADS = [(name, head) for name in ('dinov2', 'ibot') for head in ('shared', 'layer', 'own')]


@pytest.mark.slow
@pytest.mark.parametrize('name, head', HEADS)
def test_heads_are_shared_or_apart(name, head):
    changes = {} if (name, head) in DEFAULTS else {'patch_head': head}
    method, rows, params, extra = begun(name, mask_share=1.0, **changes)
    assert ('patch_projector' in params) == (head == 'own')
    assert ('patches' in params['prototypes']) == (head != 'shared')
    assert extra['target']['params'].keys() == params.keys()
    (_, _), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_patches_may_have_prototypes_of_their_own_number():
    method, rows, params, extra = begun('ibot', patch_head='layer', patch_prototypes=7)
    assert params['prototypes']['patches']['direction'].shape == (7, 16) and extra['patch_centre'].shape == (7,)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    assert np.isfinite(small.criterion(method, params, outputs, extra, rows, KEY)[0])
    with pytest.raises(UserError, match=r"patch_head='shared' needs method.patch_prototypes=0 or 12, not 7"):
        small.make('ibot', patch_prototypes=7)


def scored(layer, z):
    return called(last_layer, layer, z)


@pytest.mark.slow
def test_ibot_is_the_sum_of_its_losses_with_the_old_centres_and_moves_them_by_all_patches():
    method, rows, params, extra = begun('ibot', patch_head='layer', patch_weight=0.5, teacher_temperature=0.05)
    centres = {'centre': np.linspace(-0.1, 0.1, 12), 'patch_centre': np.linspace(0.2, -0.1, 12)}
    extra = {**extra, **{name: centre.astype(np.float32) for name, centre in centres.items()}}
    outputs, before = small.embed(method, params, extra, rows, KEY)
    value, (after, metrics) = small.criterion(method, params, outputs, before, rows, KEY)
    layers = params['prototypes'], before['target']['params']['prototypes']
    s, t = ([scored(layer, z) for z in zs] for layer, zs in zip(layers, (outputs['embeddings'], outputs['targets']['class']), strict=True))  # fmt: skip
    classes = losses.dino(s, t, extra['centre'], teacher_temperature=0.05)
    ps, pt = (scored(layer['patches'], np.concatenate(z)) for layer, z in
              zip(layers, (outputs['patches'], outputs['targets']['patches']), strict=True))  # fmt: skip
    hidden = np.concatenate(outputs['hidden'])
    patches = losses.ibot_patches(ps, pt, hidden, extra['patch_centre'], teacher_temperature=0.07)
    np.testing.assert_allclose(value, classes + 0.5 * patches, rtol=FLOAT32)
    np.testing.assert_allclose([metrics['class_loss'], metrics['patch_loss']], [classes, patches], rtol=FLOAT32)
    expected = 0.9 * extra['centre'] + 0.1 * np.mean(np.stack(t), axis=(0, 1))
    np.testing.assert_allclose(after['centre'], expected, rtol=1e-4, atol=1e-6)
    # Every patch of the whole images, hidden or not.
    scores = []
    for view in rows['views']:
        tokens = called(ENCODER.apply, {'params': params['encoder']}, view, method='tokens')[:, 1:].reshape(-1, 16)
        scores.append(scored(layers[1]['patches'], called(PROJECTOR.apply, {'params': params['projector']}, tokens)))
    expected = 0.9 * extra['patch_centre'] + 0.1 * np.mean(np.stack(scores), axis=(0, 1))
    np.testing.assert_allclose(after['patch_centre'], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_dinov2_is_the_sum_of_its_losses_and_spreads_the_students_features():
    method, rows, params, extra = begun('dinov2', koleo_groups=2, koleo_weight=0.3)
    outputs, before = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, before, rows, KEY)
    ours, theirs = params['prototypes'], before['target']['params']['prototypes']
    s = [scored(ours, z) for z in outputs['embeddings']]
    t = [scored(theirs, z) for z in outputs['targets']['class']]
    classes = losses.dinov2_class(s, t)
    patches = losses.dinov2_patches(
        scored(ours['patches'], beside(outputs['patches'])),
        scored(theirs['patches'], beside(outputs['targets']['patches'])),
        beside(outputs['hidden']),
    )
    spread = sum(losses.koleo(z, groups=2) for z in outputs['features'])
    np.testing.assert_allclose(value, classes + patches + 0.3 * spread, rtol=FLOAT32)
    np.testing.assert_allclose(metrics['koleo'], spread / 2, rtol=FLOAT32)
    assert set(ours) == {'direction', 'gain', 'patches'}  # the gain is learned


def test_scores_are_linear_in_what_is_normalised():
    rng = np.random.default_rng(0)
    weights = {'direction': rng.normal(size=(7, 4)).astype(np.float32), 'gain': np.arange(7, dtype=np.float32)}
    z = rng.normal(size=(5, 3, 4)).astype(np.float32)
    units = z / np.linalg.norm(z, axis=2, keepdims=True)
    expected = np.mean(scored(weights, z), axis=(0, 1))
    np.testing.assert_allclose(called(unit_scores, weights, np.mean(units, axis=(0, 1))), expected, atol=1e-6)


@both
def test_the_teacher_gets_no_gradient_follows_and_is_what_is_evaluated(name):
    method, rows, params, extra = begun(name)

    def through_target(target):
        changed = {**extra, 'target': {**extra['target'], 'params': target}}
        return value_of(method, rows, params, changed)[0]

    assert zero(jax.jit(jax.grad(through_target))(extra['target']['params']))
    old = jax.device_get(extra['target']['params'])
    moved = jax.tree.map(lambda x: np.asarray(x) + np.float32(0.5), params)
    _, later = compiled(method.after)(moved, extra, 0)
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, old, moved)
    assert small.tree_distance(later['target']['params'], expected) < 1e-6
    encode = compiled(method.encode)
    found = [encode(method.network(p, extra), rows['views'][0])['features'] for p in (moved, params)]
    np.testing.assert_array_equal(*found)
    expected = called(ENCODER.apply, {'params': params['encoder']}, rows['views'][0])
    np.testing.assert_allclose(found[0], expected, atol=FLOAT32)


@pytest.mark.slow
@both
def test_local_crops_are_not_masked_and_reach_the_loss(name):
    method, _, params, extra = begun(name, mask_share=1.0)
    rows = multicrop(small.batch())
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    assert [len(outputs[k]) for k in ('embeddings', 'patches', 'hidden')] == [4, 2, 2]
    local = called(ENCODER.apply, {'params': params['encoder']}, rows['views'][2])
    np.testing.assert_allclose(outputs['features'][2], local, atol=FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['dinov2', 'ibot'])
def test_stochastic_depth_is_the_students_alone(name):
    networks = {**small.TOKENS, 'encoder': ENCODER.clone(drop_path=0.5, depth=2)}
    method = {'ibot': ibot, 'dinov2': dinov2}[name](*networks.values(), **small.KEYWORDS[name])
    rows = small.batch()
    params, extra = small.started(method, rows)
    runs = [small.embed(method, params, extra, {**rows, 'keys': keys(16, seed)}, KEY)[0] for seed in (1, 2)]
    np.testing.assert_allclose(*(r['targets']['class'][0] for r in runs), atol=1e-6)
    assert np.abs(np.subtract(*(r['embeddings'][0] for r in jax.device_get(runs)))).max() > 1e-3


@pytest.mark.slow
def test_registers_stand_before_the_patches():
    """Hidden patches are taken behind the class token and the registers."""
    method = dinov2(ENCODER.clone(registers=3, layer_scale=1e-5), PROJECTOR, prototypes=12, mask_share=1.0)
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    assert params['encoder']['registers'].shape == (1, 3, 16)
    tokens = method_tokens(params, rows, registers=3)
    z = called(PROJECTOR.apply, {'params': params['projector']}, tokens[:, 4:].reshape(-1, 16)).reshape(16, 16, 16)
    from_all = np.abs(np.asarray(outputs['targets']['patches'][0])[:, 0][:, None] - z).max(2).min(1)
    assert from_all.max() < 1e-5


def method_tokens(params, rows, **fields):
    encoder = ENCODER.clone(layer_scale=1e-5, **fields)
    return called(encoder.apply, {'params': params['encoder']}, rows['views'][0], method='tokens')


@both
def test_the_control_gives_each_image_the_class_tokens_and_patches_of_another(name):
    method, rows, params, extra = begun(name, mask_share=1.0)
    assert method.control == 'shuffled_targets'
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    other = jax.jit(lambda outputs: controlled('shuffled_targets', outputs))(outputs)
    for part in ('class', 'patches'):
        for own, shuffled in zip(outputs['targets'][part], other['targets'][part], strict=True):
            np.testing.assert_array_equal(np.roll(own, 1, axis=0), shuffled)
    found = [small.criterion(method, params, o, extra, rows, KEY)[1][1] for o in (outputs, other)]
    for part in ('class_loss', 'patch_loss'):
        assert abs(float(found[0][part] - found[1][part])) > 1e-5  # untrained networks tell images little apart


def shapes(method, rows, params, extra):
    return jax.eval_shape(lambda: value_of(method, rows, params, extra))


BAD = {
    'encoder': (lambda: ibot(small.ENCODER, PROJECTOR), 'ibot needs an encoder of patches .*, not ConvNet'),
    'patch': (lambda: small.initial(ibot(ENCODER.clone(patch=3), PROJECTOR), small.batch()), 'model.patch=3 does not'),
    'ratio': (lambda: small.initial(ibot(ENCODER, PROJECTOR, mask_ratio=(0.01, 0.02)), small.batch()), 'hides none of the 16'),
    'order': (lambda: small.initial(ibot(ENCODER, PROJECTOR, mask_ratio=(0.5, 0.2)), small.batch()), 'two numbers in order'),
    'grid': (lambda: small.initial(dinov2(ENCODER.clone(patch=4), PROJECTOR), small.batch()), "method.mask='block': a grid of 2x2"),
    'groups': (lambda: shapes(*begun('dinov2', koleo_groups=3)), 'method.koleo_groups=3 must cut the batch of 16'),
    'sizes': (
        lambda: shapes(*begun('ibot', {**small.batch(), 'views': (small.batch()['views'][0], np.zeros((16, 16, 16, 1)))})),
        'first 2 views, which must be of one size, not 8x8 and 16x16',
    ),
    'views': (lambda: shapes(*begun('ibot', {**small.batch(), 'views': small.batch()['views'][:1]})), 'needs 2 views'),
}  # fmt: skip


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)
