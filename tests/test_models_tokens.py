"""Vision transformers and decoders beyond the defaults: registers, LayerScale, entries that do not count, linear heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import Compiled
from scipy.ndimage import correlate
from scipy.special import erf
from selfsup import models
from selfsup.config import validate
from selfsup.errors import UserError
from selfsup.models import transformer
from selfsup.models.positions import sincos_positions
from tolerances import BFLOAT16, FLOAT32, FLOAT64

VIT = Compiled(models.ViT(dim=16, depth=2, heads=2, patch=4))
IMAGES = jax.random.normal(jax.random.key(5), (2, 16, 16, 3))
KEEP = jnp.array([[3, 9, 0, 14], [7, 1, 12, 5]])
VALID = jnp.array([[True, True, False, True], [True, False, True, True]])


def started(module, *args, **given):
    """Variables with all biases and tokens moved away from zero, so that each of them shows."""
    variables = module.init(jax.random.key(0), *args, **given)
    return jax.tree.map(lambda x: np.asarray(x) + small.noise(x.shape, 0.2), variables)


@pytest.mark.parametrize('length', [5, 6])
def test_the_fused_kernel_is_given_even_lengths_and_sees_no_padding(length, monkeypatch):
    """cuDNN's is not here: jax's own function stands in its place, with the arguments that it is given."""
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, length, 2, 8), jnp.bfloat16)
    expected = transformer.attend(query, key, value)
    plain, seen = jax.nn.dot_product_attention, []

    def stand_in(query, key, value, *, implementation=None, mask=None, **lengths):
        seen.append((implementation, query.shape[1]))
        return plain(query, key, value, mask=mask, **lengths)

    monkeypatch.setattr(jax.nn, 'dot_product_attention', stand_in)
    monkeypatch.setattr(transformer, 'has_fused_attention', lambda: True)
    fused = transformer.attend(query, key, value)
    assert seen == [('cudnn', 6)]
    np.testing.assert_allclose(fused.astype(jnp.float32), expected.astype(jnp.float32), atol=BFLOAT16)
    valid = jnp.ones((2, length), bool)
    transformer.attend(query, key, value, valid)
    transformer.attend(query, key, value, kind='xla')
    transformer.attend(*(x.astype(jnp.float32) for x in (query, key, value)))
    assert [kind for kind, _ in seen[1:]] == [None] * 3


@pytest.mark.slow
def test_registers_are_free_tokens_that_no_output_is_made_of():
    module = VIT.clone(registers=3)
    variables = started(module, IMAGES)
    assert variables['params']['registers'].shape == (1, 3, 16)
    tokens = module.apply(variables, IMAGES, method='tokens')
    assert tokens.shape == (2, 4 + 16, 16) and module.prefix == 4
    for pool, expected in (('token', tokens[:, 0]), ('mean', tokens[:, 4:].mean(axis=1))):
        np.testing.assert_array_equal(module.clone(pool=pool).apply(variables, IMAGES), expected)
    # Registers have no position: in another order they change nothing for the others.
    turned = {'params': {**variables['params'], 'registers': variables['params']['registers'][:, ::-1]}}
    np.testing.assert_allclose(module.apply(turned, IMAGES), tokens[:, 0], atol=FLOAT32)
    none = {'params': {k: v for k, v in variables['params'].items() if k != 'registers'}}
    assert float(jnp.abs(VIT.apply(none, IMAGES) - tokens[:, 0]).max()) > 1e-3


def test_an_encoder_may_have_no_class_token():
    module = VIT.clone(class_token=False, pool='mean')
    variables = module.init(jax.random.key(0), IMAGES)
    assert not {'cls_token', 'cls_position'} & set(variables['params'])
    tokens = module.apply(variables, IMAGES, method='tokens', keep=KEEP)
    assert tokens.shape == (2, 4, 16)
    np.testing.assert_allclose(module.pooled(jnp.asarray(tokens)), tokens.mean(axis=1), rtol=FLOAT32)
    with pytest.raises(ValueError, match="pool='token' needs class_token=True"):
        VIT.clone(class_token=False).init(jax.random.key(0), IMAGES)
    with pytest.raises(UserError, match="model.class_token=False leaves no token to pool; set model.pool='mean'"):
        validate.check_sizes('model', {'class_token': False, 'pool': 'token'})


def test_what_enters_the_first_block_comes_before_the_blocks_outputs():
    """The embeddings with their positions, behind the class token."""
    variables = started(VIT, IMAGES)
    found = VIT.apply(variables, IMAGES, method='tokens', blocks=3, of='block', keep=KEEP)
    p = variables['params']
    patches = IMAGES.reshape(2, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 16, 48)
    embedded = (
        patches @ p['patch_embed']['kernel'].reshape(48, 16) + (p['patch_embed']['bias'][None] + p['positions'])[None]
    )
    np.testing.assert_allclose(found[0][:, 1:], jnp.take_along_axis(embedded, KEEP[..., None], axis=1), atol=1e-4)
    np.testing.assert_allclose(found[0][:, :1], jnp.tile(p['cls_token'] + p['cls_position'], (2, 1, 1)), atol=FLOAT32)
    same = VIT.apply(variables, IMAGES, method='tokens', blocks=2, of='block', keep=KEEP)
    jax.tree.map(np.testing.assert_array_equal, found[1:], same)


def test_layer_scale_starts_at_its_value_and_scales_both_branches():
    module = VIT.clone(layer_scale=0.1)
    params = module.init(jax.random.key(0), IMAGES)['params']
    plain = VIT.init(jax.random.key(0), IMAGES)['params']
    for block in ('block0', 'block1'):
        for name in ('ls1', 'ls2'):
            np.testing.assert_array_equal(params[block][name]['gamma'], np.full(16, 0.1, np.float32))
    without = {
        k: {n: v for n, v in tree.items() if n[:2] != 'ls'} if 'block' in k else tree for k, tree in params.items()
    }
    jax.tree.map(np.testing.assert_array_equal, without, plain)
    # A factor of 0 takes its branch away; factors of 1 are the network without them.
    ones = jax.tree_util.tree_map_with_path(lambda p, x: jnp.ones_like(x) if 'gamma' in str(p) else x, params)
    np.testing.assert_allclose(
        module.apply({'params': ones}, IMAGES), VIT.apply({'params': plain}, IMAGES), atol=FLOAT32
    )
    zero = jax.tree_util.tree_map_with_path(lambda p, x: jnp.zeros_like(x) if 'gamma' in str(p) else x, params)
    first, last = module.apply({'params': zero}, IMAGES, method='tokens', blocks=2, of='block')
    np.testing.assert_array_equal(first, last)


def test_outputs_of_blocks_and_of_their_mlps():
    variables = started(VIT, IMAGES)
    _, last = VIT.apply(variables, IMAGES, method='tokens', blocks=2, of='block')
    _, normed = VIT.apply(variables, IMAGES, method='tokens', blocks=2)
    norm = variables['params']['norm']
    centred = last - last.mean(-1, keepdims=True)
    expected = (
        centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6) * norm['scale'][None, None]
        + norm['bias'][None, None]
    )
    np.testing.assert_allclose(normed, expected, atol=10 * FLOAT32)
    for remat in (False, True):
        mlps = VIT.clone(remat=remat).apply(variables, IMAGES, method='tokens', blocks=2, of='mlp')
        _, state = VIT.apply(variables, IMAGES, capture_intermediates=True, mutable=['intermediates'])
        for number, found in enumerate(mlps):
            inside = state['intermediates'][f'block{number}']['fc2']['__call__'][0]
            np.testing.assert_allclose(found, inside, atol=FLOAT32)
    with pytest.raises(ValueError, match="of must be one of norm, norms, block, mlp, not 'attention'"):
        VIT.apply(variables, IMAGES, method='tokens', of='attention')


@pytest.mark.parametrize('double', [False, True])
def test_kept_patches_that_do_not_count_have_no_influence(double, x64):
    """As if they had been left out, in float32 and in float64, where attention is computed otherwise."""
    images, limit = (IMAGES.astype(jnp.float64), FLOAT64) if double else (IMAGES.astype(jnp.float32), FLOAT32)
    variables = jax.tree.map(lambda x: np.asarray(x, images.dtype), started(VIT, images))
    tokens = VIT.apply(variables, images, method='tokens', keep=KEEP, valid=VALID)
    for row in range(2):
        counted = KEEP[row][VALID[row]][None]
        alone = VIT.apply(variables, images[row : row + 1], method='tokens', keep=counted)
        chosen = jnp.concatenate([tokens[row, :1], tokens[row, 1:][VALID[row]]])
        np.testing.assert_allclose(chosen, alone[0], atol=limit)


DECODER = Compiled(models.TransformerDecoder(dim=8, depth=2, heads=2, out=5))
TOKENS = jax.random.normal(jax.random.key(1), (2, 5, 16))
QUERIES = jnp.array([[1, 2, 15], [0, 3, 8]])
ASKED = jnp.array([[True, True, False], [False, True, True]])


@pytest.mark.slow
def test_a_decoder_does_not_see_entries_that_do_not_count():
    variables = started(DECODER, TOKENS, KEEP, (4, 4), QUERIES)
    found = DECODER.apply(variables, TOKENS, KEEP, (4, 4), QUERIES, valid=VALID, asked=ASKED)
    for row in range(2):
        own = slice(row, row + 1)
        tokens = jnp.concatenate([TOKENS[own, :1], TOKENS[own, 1:][:, VALID[row]]], axis=1)
        counted, wanted = KEEP[own][:, VALID[row]], QUERIES[own][:, ASKED[row]]
        alone = DECODER.apply(variables, tokens, counted, (4, 4), wanted)
        np.testing.assert_allclose(found[row][ASKED[row]], alone[0], atol=FLOAT32)


def test_a_decoder_may_start_from_a_truncated_normal_and_scale_its_layers():
    module = DECODER.clone(init_kernels='truncated', layer_scale=0.5)
    params = module.init(jax.random.key(0), TOKENS, KEEP, (4, 4), QUERIES)['params']
    kernels = [params['embed'], params['head'], params['block0']['fc1'], params['block1']['attn']['qkv']]
    assert all(float(jnp.abs(kernel['kernel']).max()) < 0.05 for kernel in kernels)  # two deviations of 0.02 / 0.88
    np.testing.assert_array_equal(params['block1']['ls2']['gamma'], np.full(8, 0.5, np.float32))


def test_a_linear_decoder_reads_the_token_of_each_patch():
    module, order = Compiled(models.LinearDecoder(out=3)), jnp.array([[2, 0, 3, 1], [1, 3, 0, 2]])
    tokens = jax.random.normal(jax.random.key(1), (2, 6, 16))  # two without a place, four of patches
    variables = started(module, tokens, order, (2, 2))
    found = module.apply(variables, tokens, order, (2, 2))
    head = variables['params']['head']
    for row in range(2):
        for place, patch in enumerate(order[row]):
            expected = tokens[row, 2 + place] @ head['kernel'] + head['bias']
            np.testing.assert_allclose(found[row, patch], expected, atol=FLOAT32)
    queries = jnp.array([[3, 3], [0, 1]])
    asked = module.apply(variables, tokens, order, (2, 2), queries)
    np.testing.assert_allclose(asked, jnp.take_along_axis(found, queries[..., None], axis=1), atol=FLOAT32)


def test_several_rows_of_an_image_share_its_patches():
    variables = started(VIT, IMAGES)
    rows = jnp.stack([KEEP, KEEP[:, ::-1] // 2], axis=1).reshape(4, 4)  # two rows an image, side by side
    found = VIT.apply(variables, IMAGES, method='tokens', keep=rows)
    expected = VIT.apply(variables, jnp.repeat(IMAGES, 2, axis=0), method='tokens', keep=rows)
    np.testing.assert_allclose(found, expected, atol=FLOAT32)


CONVOLUTION = Compiled(models.ConvolutionalDecoder(dim=16, depth=2, channel_groups=4, out=3))


def test_a_convolutional_decoder_equals_scipy():
    tokens = jax.random.normal(jax.random.key(1), (2, 5, 16))  # the first has no place
    variables = started(CONVOLUTION, tokens, KEEP, (4, 4))
    found = CONVOLUTION.apply(variables, tokens, KEEP, (4, 4))
    x = np.zeros((2, 16, 16))
    x[np.arange(2)[:, None], KEEP] = tokens[:, 1:]
    x = x.reshape(2, 4, 4, 16)
    for name in ('conv0', 'conv1'):
        kernel, bias = (np.asarray(variables['params'][name][n], np.float64) for n in ('kernel', 'bias'))
        y = (
            np.stack(
                [
                    [
                        sum(
                            correlate(x[image, :, :, 4 * (o // 4) + i], kernel[:, :, i, o], mode='constant')
                            for i in range(4)
                        )
                        for o in range(16)
                    ]
                    for image in range(2)
                ]
            ).transpose(0, 2, 3, 1)
            + bias
        )
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
        x = x + y * (1 + erf(y / np.sqrt(2))) / 2
    head = variables['params']['head']
    expected = x.reshape(2, 16, 16) @ np.asarray(head['kernel'], np.float64) + np.asarray(head['bias'])
    np.testing.assert_allclose(found, expected, atol=10 * FLOAT32)
    some = CONVOLUTION.apply(variables, tokens, KEEP, (4, 4), QUERIES)
    np.testing.assert_allclose(some, jnp.take_along_axis(found, QUERIES[..., None], axis=1), atol=FLOAT32)


def test_hidden_places_of_a_convolutional_decoder_hold_each_examples_own_noise():
    module = CONVOLUTION.clone(noise=0.5)
    tokens = jnp.tile(jax.random.normal(jax.random.key(1), (1, 5, 16)), (3, 1, 1))
    keep, keys = jnp.tile(KEEP[:1], (3, 1)), jax.random.split(jax.random.key(2), 2)[jnp.array([0, 1, 0])]
    variables = started(module, tokens, keep, (4, 4))
    found = module.apply(variables, tokens, keep, (4, 4), keys=keys)
    np.testing.assert_allclose(found[0], found[2], atol=FLOAT32)
    assert float(jnp.abs(found[0] - found[1]).max()) > 1e-2
    silent = module.clone(noise=0.0).apply(variables, tokens, keep, (4, 4), keys=keys)
    np.testing.assert_array_equal(silent, module.apply(variables, tokens, keep, (4, 4)))


CROSS = Compiled(models.CrossDecoder(dim=8, depth=2, heads=2, out=3))


def crossed(maps=(), queries=QUERIES, **fields):
    """The cross decoder's output on the tokens of KEEP, with the given maps."""
    module = CROSS.clone(**fields)
    variables = started(module, TOKENS, KEEP, (4, 4), queries, maps=maps)
    return module, variables, module.apply(variables, TOKENS, KEEP, (4, 4), queries, maps=maps)


@pytest.mark.slow
def test_a_cross_decoder_predicts_each_patch_apart_from_the_others():
    module, variables, found = crossed()
    for place in range(QUERIES.shape[1]):
        alone = module.apply(variables, TOKENS, KEEP, (4, 4), QUERIES[:, place : place + 1])
        np.testing.assert_allclose(found[:, place], alone[:, 0], atol=FLOAT32)
    module, variables, found = crossed(self_attention=True)
    alone = module.apply(variables, TOKENS, KEEP, (4, 4), QUERIES[:, :1])
    assert float(jnp.abs(found[:, 0] - alone[:, 0]).max()) > 1e-3


def test_a_cross_decoder_equals_numpy():
    """One block without self-attention: mask token and position, attention to a weighted sum of maps, MLP, head."""
    maps = (TOKENS, TOKENS[:, ::-1] + 1.0)
    _, variables, found = crossed(maps, depth=1)
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), variables['params'])

    def norm(x, name, tree):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * tree[name]['scale'] + tree[name]['bias']

    def linear(x, tree):
        return x @ tree['kernel'] + tree['bias']

    block = p['block0']
    mixed = sum(w * np.asarray(m, np.float64) for w, m in zip(p['map_weights'][0], maps, strict=True))
    context = norm(mixed, 'context_norm0', p)
    x = p['mask_token'][0] + sincos_positions(4, 4, 8)[np.asarray(QUERIES)]
    query, both = linear(norm(x, 'norm1', block), block['q']), linear(context, block['kv'])
    key, value = both[..., :8], both[..., 8:]
    seen = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = query[..., head] @ key[..., head].swapaxes(1, 2) / 2.0  # the root of 4 features a head
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        seen.append(weights @ value[..., head])
    x = x + linear(np.concatenate(seen, axis=-1), block['proj'])
    y = linear(norm(x, 'norm2', block), block['fc1'])
    x = x + linear(y * (1 + erf(y / np.sqrt(2))) / 2, block['fc2'])
    np.testing.assert_allclose(found, linear(norm(x, 'norm', p), p['head']), atol=10 * FLOAT32)


@pytest.mark.slow
def test_a_cross_decoder_of_the_whole_grid_puts_given_tokens_at_their_places():
    """What it is given may come in any order; of a given patch its own token decides, of others the mask token."""
    module, variables, found = crossed(queries=None)
    assert found.shape == (2, 16, 3)
    order = jnp.array([0, 3, 1, 4, 2])
    turned = module.apply(variables, TOKENS[:, order], KEEP[:, order[1:] - 1], (4, 4))
    np.testing.assert_allclose(turned, found, atol=FLOAT32)
    changed = TOKENS.at[:, 1].add(1.0)
    context = (TOKENS,)
    _, variables, _ = crossed(context, queries=None)
    before, after = (module.apply(variables, t, KEEP, (4, 4), maps=context) for t in (TOKENS, changed))
    moved = jnp.abs(before - after).max(axis=2) > 1e-4
    np.testing.assert_array_equal(moved, jnp.arange(16)[None] == KEEP[:, :1])


def test_a_cross_decoder_attends_to_the_maps_and_not_to_the_tokens():
    module, variables, found = crossed((TOKENS + 1.0,))
    other = module.apply(variables, TOKENS + 5.0, KEEP, (4, 4), QUERIES, maps=(TOKENS + 1.0,))
    np.testing.assert_array_equal(other, found)


LINEAR = Compiled(models.LinearDecoder(out=3))
BAD = {
    'valid': (
        lambda: VIT.init(jax.random.key(0), IMAGES, method='tokens', keep=KEEP, valid=VALID[:, :3]),
        ValueError,
        r'valid must have the shape of keep, \[2, 4\], not \[2, 3\]',
    ),
    'valid of all': (
        lambda: VIT.init(jax.random.key(0), IMAGES, method='tokens', valid=VALID),
        ValueError,
        r'valid must have the shape of keep, none, not \[2, 4\]',
    ),
    'linear': (lambda: LINEAR.init(jax.random.key(0), TOKENS, KEEP, (4, 4)), UserError, 'the encoder sees 4 of 16 patches'),
    'heads': (lambda: crossed(heads=3), UserError, 'dim=8 of the decoder must be a multiple of 4 and of heads=3'),
    'out of cross': (lambda: crossed(out=0), ValueError, 'out must be at least 1'),
    'out': (lambda: LINEAR.clone(out=0).init(jax.random.key(0), TOKENS, KEEP, (2, 2)), ValueError, 'out must be at least 1'),
    'init': (
        lambda: DECODER.clone(init_kernels='he').init(jax.random.key(0), TOKENS, KEEP, (4, 4)),
        ValueError,
        "one of truncated, xavier, not 'he'",
    ),
    'whole grid': (
        lambda: DECODER.init(jax.random.key(0), TOKENS, KEEP, (4, 4), valid=VALID),
        ValueError,
        'valid and asked are of calls with queries',
    ),
    'asked': (
        lambda: DECODER.init(jax.random.key(0), TOKENS, KEEP, (4, 4), QUERIES, asked=ASKED[:, :2]),
        ValueError,
        r'asked must have shape \[2, 3\], not \[2, 2\]',
    ),
}  # fmt: skip


@pytest.mark.parametrize('call, error, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(call, error, message, own_checks):
    with pytest.raises(error, match=message):
        call()
