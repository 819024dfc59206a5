"""Shapes, parameter counts, batch-norm against NumPy, and its groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import Compiled
from selfsup import models
from selfsup.models.positions import sincos_positions
from selfsup.models.transformer import drop_examples
from tolerances import FLOAT32, FLOAT64

# Parameters of the torchvision and timm models without their classifiers.
COUNTS = {
    'resnet18': (models.resnet18(), 224, 11_176_512, 512),
    'resnet34': (models.resnet34(), 224, 21_284_672, 512),
    'resnet50': (models.resnet50(), 224, 23_508_032, 2048),
    'resnet18, CIFAR stem': (models.resnet18(stem='cifar'), 32, 11_168_832, 512),
    'vit_ti': (models.vit_ti(), 224, 5_524_416, 192),
    'vit_s': (models.vit_s(), 224, 21_665_664, 384),
    'vit_b': (models.vit_b(), 224, 85_798_656, 768),
    'vit_l': (models.vit_l(), 224, 303_301_632, 1024),
    'vit_h': (models.vit_h(), 224, 630_764_800, 1280),
    'vit_g': (models.vit_g(), 224, 1_011_202_432, 1408),
}


@pytest.mark.parametrize('module, size, count, width', COUNTS.values(), ids=COUNTS.keys())
def test_parameter_count_and_output(module, size, count, width):
    images = jnp.zeros((2, size, size, 3))
    out, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), images, train=False))
    assert sum(x.size for x in jax.tree.leaves(variables['params'])) == count
    assert out.shape == (2, width)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))


@pytest.mark.parametrize('stem, side', [('imagenet', 8), ('cifar', 32), ('cifar_pad2', 34)])
def test_stems(stem, side):
    module = Compiled(models.ResNet(stages=(1,), width=4, stem=stem))
    _, state = module.init_with_output(
        jax.random.key(0), jnp.zeros((1, 32, 32, 3)), capture_intermediates=True, mutable=True
    )
    assert state['intermediates']['layer1_0']['__call__'][0].shape == (1, side, side, 4)


def test_bfloat16_keeps_parameters_statistics_and_features_in_float32():
    module = Compiled(models.ResNet(stages=(1, 1), width=4, stem='cifar', dtype=jnp.bfloat16))
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = module.init(jax.random.key(0), x)
    out, state = module.apply(
        variables, x, train=True, mutable=['batch_stats', 'intermediates'], capture_intermediates=True
    )
    assert state['intermediates']['layer1_0']['__call__'][0].dtype == jnp.bfloat16
    assert out.dtype == jnp.float32
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves((variables['params'], state['batch_stats'])))


def batch(n=8, dtype=np.float64):
    return (3 + np.random.default_rng(0).normal(size=(n, 3, 2, 5))).astype(dtype)


def run(norm, x, train=True, order=None, variables=None):
    variables = variables or norm.init(jax.random.key(0), x, False)
    return norm.apply(variables, x, train, order, mutable=['batch_stats'])


def test_batch_norm_equals_numpy(x64):
    x = batch()
    y, state = run(models.BatchNorm(), jnp.asarray(x))
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(np.asarray(var) + 1e-5), rtol=1e-6)
    # The running variance is the unbiased one, as torch keeps it.
    np.testing.assert_allclose(state['batch_stats']['var'], 0.9 + 0.1 * np.var(x, axis=(0, 1, 2), ddof=1), rtol=FLOAT32)
    np.testing.assert_allclose(state['batch_stats']['mean'], 0.1 * mean, rtol=FLOAT32)


def test_batch_norm_survives_a_large_mean():
    x = jnp.asarray(batch(64, np.float32)) + 3e3
    y, _ = run(models.BatchNorm(), x)
    np.testing.assert_allclose(np.var(np.asarray(y), axis=(0, 1, 2)), 1, rtol=1e-2)


def test_groups_equal_separate_batches(x64):
    x = jnp.asarray(batch())
    y, state = run(models.BatchNorm(groups=4), x)
    parts = [run(models.BatchNorm(), x[i : i + 2]) for i in range(0, 8, 2)]
    np.testing.assert_allclose(y, np.concatenate([p[0] for p in parts]), rtol=FLOAT64)
    mean = np.mean([p[1]['batch_stats']['mean'] for p in parts], axis=0)
    var = np.mean([p[1]['batch_stats']['var'] for p in parts], axis=0)
    np.testing.assert_allclose(state['batch_stats']['mean'], mean, rtol=FLOAT32)
    np.testing.assert_allclose(state['batch_stats']['var'], var, rtol=FLOAT32)


def test_places_in_a_shuffled_batch_equal_shuffled_images(x64):
    x, order = jnp.asarray(batch()), jax.random.permutation(jax.random.key(3), 8)
    norm = models.BatchNorm(groups=4)
    by_place, _ = run(norm, x, order=order)
    places = jnp.argsort(order)
    shuffled, _ = run(norm, x[places])
    np.testing.assert_allclose(by_place, shuffled[order], rtol=FLOAT64)
    assert not np.allclose(by_place, run(norm, x)[0])


@pytest.mark.parametrize('groups', [1, 2, 8], ids='groups={}'.format)
def test_batch_norm_over_an_axis_equals_one_device(groups, x64):
    x = jnp.asarray(batch(16))
    single, single_state = run(models.BatchNorm(groups=groups), x)
    norm = models.BatchNorm(groups=groups, axis_name='data')
    variables = norm.init(jax.random.key(0), x, False)
    y, state = jax.pmap(lambda v: run(norm, v, variables=variables), axis_name='data')(x.reshape(4, 4, *x.shape[1:]))
    np.testing.assert_allclose(y.reshape(x.shape), single, rtol=1e-9)
    for name in ('mean', 'var'):
        np.testing.assert_allclose(state['batch_stats'][name][2], single_state['batch_stats'][name], rtol=FLOAT32)


def test_indivisible_groups_are_refused():
    with pytest.raises(ValueError, match='batch of 8 cannot be cut into 3'):
        run(models.BatchNorm(groups=3), jnp.asarray(batch(dtype=np.float32)))


@pytest.mark.parametrize(
    'last, keys', [('none', set()), ('plain', set()), ('scale', {'scale'}), ('affine', {'scale', 'bias'})]
)
def test_mlp_norms(last, keys):
    module = Compiled(models.MLP(widths=(6, 4), last_norm=last, hidden_bias=False, last_bias=False))
    variables = module.init(jax.random.key(0), jnp.ones((3, 5)))
    assert set(variables['params'].get('norm1', {})) == keys
    assert 'bias' not in variables['params']['linear0']
    assert ('norm1' in variables['batch_stats']) == (last != 'none')


def test_sincos_positions_are_distinct_and_bounded():
    table = sincos_positions(3, 4, 8)
    assert table.shape == (12, 8)
    assert len(np.unique(table.round(6), axis=0)) == 12
    assert np.abs(table).max() <= 1


def test_learned_positions_are_interpolated():
    module = Compiled(models.ViT(dim=16, depth=1, heads=2, patch=4))
    variables = module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert variables['params']['positions'].shape == (16, 16)
    assert module.apply(variables, jnp.ones((2, 24, 24, 3))).shape == (2, 16)


def test_kernels_may_start_xavier_uniform():
    """Bounds √(6 / (fan-in + fan-out)), of the flattened patch projection as of a linear layer."""
    module = Compiled(models.ViT(dim=16, depth=1, heads=2, patch=4, init_kernels='xavier'))
    params = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))['params']
    for kernel, inputs, outputs in (
        (params['patch_embed']['kernel'], 48, 16),
        (params['block0']['attn']['qkv']['kernel'], 16, 48),
        (params['block0']['fc2']['kernel'], 64, 16),
    ):
        bound = np.sqrt(6 / (inputs + outputs))
        assert 0.95 * bound < np.abs(kernel).max() <= bound


BAD = {
    'init': (
        lambda: models.ViT(dim=8, heads=2, patch=4, init_kernels='he'),
        (1, 8, 8, 3),
        'init_kernels must be one of',
    ),
    'stem': (lambda: models.ResNet(stages=(1,), stem='mnist'), (1, 8, 8, 3), 'stem must be one of'),
    'patch': (lambda: models.ViT(dim=8, heads=2, patch=5), (1, 16, 16, 3), 'patches of 5 do not tile images of 16x16'),
    'MLP': (
        lambda: models.ViT(dim=8, heads=2, patch=4, mlp_ratio=0.1),
        (1, 8, 8, 3),
        'mlp_ratio=0.1 of 8 features leaves no',
    ),
    'pool': (lambda: models.ViT(dim=8, heads=2, patch=4, pool='max'), (1, 8, 8, 3), "pool 'token' or 'mean'"),
}


@pytest.mark.parametrize('make, shape, message', BAD.values(), ids=BAD.keys())
def test_bad_models_are_refused(make, shape, message):
    with pytest.raises(ValueError, match=message):
        Compiled(make()).init(jax.random.key(0), jnp.zeros(shape))


VIT = Compiled(models.ViT(dim=16, depth=3, heads=2, patch=4))
IMAGES = jax.random.normal(jax.random.key(5), (2, 16, 16, 3))
KEEP = jnp.array([[3, 9, 0, 14], [7, 1, 12, 5]])


def vit_tokens(module=VIT, images=IMAGES, **given):
    """Tokens of a network whose parameters do not depend on what is dropped."""
    variables = module.init(jax.random.key(0), IMAGES)
    return module.apply(variables, images, method='tokens', **given)


@pytest.mark.parametrize('pool', ['token', 'mean'])
def test_vit_pools_its_tokens(pool):
    module = VIT.clone(pool=pool)
    tokens = vit_tokens(module)
    assert tokens.shape == (2, 17, 16)
    expected = tokens[:, 0] if pool == 'token' else tokens[:, 1:].mean(axis=1)
    np.testing.assert_array_equal(module.apply(module.init(jax.random.key(0), IMAGES), IMAGES), expected)


def test_vit_has_the_same_parameters_whichever_method_makes_them():
    names = {'patch_embed', 'cls_token', 'cls_position', 'positions', 'block0', 'block1', 'block2', 'norm'}
    by_call = VIT.init(jax.random.key(0), IMAGES)
    by_tokens = VIT.init(jax.random.key(0), IMAGES, method='tokens', keep=KEEP)
    assert set(by_call['params']) == names
    jax.tree.map(np.testing.assert_array_equal, by_call, by_tokens)
    hidden = jnp.zeros((2, 16), bool)
    assert set(VIT.init(jax.random.key(0), IMAGES, method='tokens', hidden=hidden)['params']) == names | {'mask_token'}


def test_keeping_every_patch_changes_nothing():
    everything = jnp.tile(jnp.arange(16), (2, 1))
    np.testing.assert_array_equal(vit_tokens(keep=everything), vit_tokens())


def test_kept_patches_keep_their_positions():
    """All patches of a constant image are alike: what differs between kept tokens is their position alone."""
    constant = jnp.ones_like(IMAGES)
    tokens = vit_tokens(images=constant, keep=KEEP)
    reordered = vit_tokens(images=constant, keep=KEEP[:, ::-1])
    np.testing.assert_allclose(tokens[:, 1:], reordered[:, :0:-1], atol=FLOAT32)
    np.testing.assert_allclose(tokens[:, 0], reordered[:, 0], atol=FLOAT32)
    assert min(float(jnp.abs(tokens[:, i] - tokens[:, j]).max()) for i in range(1, 5) for j in range(1, i)) > 1e-3
    # The two images keep other patches, so they differ although their pixels do not.
    assert float(jnp.abs(tokens[0, 0] - tokens[1, 0]).max()) > 1e-5


def test_dropped_patches_have_no_influence():
    dropped = jnp.ones((2, 16), bool).at[jnp.arange(2)[:, None], KEEP].set(False).reshape(2, 4, 4)
    pixels = jnp.repeat(jnp.repeat(dropped, 4, axis=1), 4, axis=2)[..., None]
    changed = jnp.where(pixels, 7.0, IMAGES)
    np.testing.assert_array_equal(vit_tokens(images=changed, keep=KEEP), vit_tokens(keep=KEEP))
    assert float(jnp.abs(vit_tokens(images=changed) - vit_tokens()).max()) > 1e-3


def test_hidden_patches_are_a_mask_token_at_their_position():
    hidden = jnp.zeros((2, 16), bool).at[0, :5].set(True)
    variables = VIT.init(jax.random.key(0), IMAGES, method='tokens', hidden=hidden)
    first = jnp.zeros((4, 4), bool).at[0].set(True).at[1, 0].set(True)
    changed = jnp.where(jnp.repeat(jnp.repeat(first, 4, axis=0), 4, axis=1)[None, :, :, None], 7.0, IMAGES)
    both = [VIT.apply(variables, images, method='tokens', hidden=hidden) for images in (IMAGES, changed)]
    np.testing.assert_array_equal(both[0][0], both[1][0])
    assert float(jnp.abs(both[0][0, 1] - both[0][0, 2]).max()) > 1e-3
    np.testing.assert_array_equal(both[0][1], VIT.apply(variables, IMAGES, method='tokens')[1])


def test_outputs_of_the_last_blocks():
    variables = VIT.init(jax.random.key(0), IMAGES)
    middle, last = VIT.apply(variables, IMAGES, method='tokens', blocks=2)
    np.testing.assert_array_equal(last, vit_tokens())
    _, state = VIT.apply(variables, IMAGES, capture_intermediates=True, mutable=['intermediates'])
    np.testing.assert_array_equal(middle, state['intermediates']['block1']['__call__'][0])


def test_stochastic_depth_depends_on_each_examples_own_key():
    module = VIT.clone(drop_path=0.6)
    images = jnp.tile(IMAGES[:1], (64, 1, 1, 1))
    variables = module.init(jax.random.key(0), images)
    keys = jax.random.split(jax.random.key(1), 64)
    whole = module.apply(variables, images, train=True, keys=keys)
    part = module.apply(variables, images[:8], train=True, keys=keys[8:16])
    np.testing.assert_allclose(whole[8:16], part, atol=FLOAT32)
    assert len(np.unique(np.asarray(whole).round(4), axis=0)) > 4
    assert len(np.unique(np.asarray(module.apply(variables, images, keys=keys)).round(4), axis=0)) == 1


@pytest.mark.parametrize('stream', [0, 1])
def test_dropped_branches_keep_their_expectation(stream):
    x = jnp.ones((4000, 2, 3))
    dropped = drop_examples(x, 0.25, jax.random.split(jax.random.key(2), 4000), stream)
    values = np.unique(dropped)
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=FLOAT32)
    # The mean of 4000 draws deviates by 0.009.
    np.testing.assert_allclose(dropped.mean(), 1, atol=0.036)
    assert (dropped == dropped[:, :1, :1]).all()


DECODER = Compiled(models.TransformerDecoder(dim=8, depth=2, heads=2, out=5))


def decoded(keep=KEEP, queries=None, tokens=None, free=1, **changes):
    module = DECODER.clone(**changes)
    tokens = jax.random.normal(jax.random.key(1), (2, free + 4, 16)) if tokens is None else tokens
    variables = module.init(jax.random.key(0), tokens, keep, (4, 4), queries)
    # Mask tokens and biases that matter, so that a token in a wrong place shows.
    variables = jax.tree.map(lambda x: np.asarray(x) + small.noise(x.shape, 0.3), variables)
    return module.apply(variables, tokens, keep, (4, 4), queries)


def test_decoder_puts_tokens_at_their_places():
    whole = decoded()
    assert whole.shape == (2, 16, 5) and whole.dtype == jnp.float32
    tokens = jax.random.normal(jax.random.key(1), (2, 5, 16))
    order = jnp.array([0, 3, 1, 4, 2])
    np.testing.assert_allclose(decoded(KEEP[:, order[1:] - 1], tokens=tokens[:, order]), whole, atol=FLOAT32)
    assert float(jnp.abs(decoded(KEEP[:, ::-1], tokens=tokens) - whole).max()) > 1e-2


def test_decoder_asked_for_the_missing_patches_gives_those_of_the_whole_grid():
    """The blocks do not see the order of their tokens, so both forms are one function."""
    missing = jnp.stack([jnp.setdiff1d(jnp.arange(16), row, size=12) for row in KEEP])
    whole = decoded()
    np.testing.assert_allclose(
        decoded(queries=missing), jnp.take_along_axis(whole, missing[..., None], axis=1), atol=FLOAT32
    )


def test_networks_of_the_config():
    assert {name: constructor.__name__ for name, constructor in models.NETWORKS.items()} == {
        'mlp': 'MLP',
        'transformer': 'TransformerDecoder',
        'linear': 'LinearDecoder',
        'convolution': 'ConvolutionalDecoder',
        'cross': 'CrossDecoder',
    }


REFUSED = {
    'keep': (lambda: vit_tokens(keep=jnp.zeros((3, 4), int)), r'keep must have shape \[2, 1 to 16\], not \[3, 4\]'),
    'hidden': (lambda: vit_tokens(hidden=jnp.zeros((2, 9), bool)), r'hidden must have shape \[2, 16\], not \[2, 9\]'),
    'blocks': (lambda: vit_tokens(blocks=5), 'blocks must be from 1 to 3, the depth, or one more .*, not 5'),
    'mlps': (lambda: vit_tokens(blocks=4, of='mlp'), 'blocks must be from 1 to 3, .*, not 4'),
    'width': (lambda: decoded(heads=3), 'multiple of 4 and of heads, 3, not 8'),
    'out': (lambda: decoded(out=0), 'out must be at least 1'),
    'places': (lambda: decoded(keep=jnp.zeros((2, 9), int)), r'keep must have shape \[2, at most 5\]'),
}


@pytest.mark.parametrize('call, message', REFUSED.values(), ids=REFUSED.keys())
def test_arguments_that_do_not_fit_are_refused(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
