"""Methods whose mask tokens attend to the encoder's tokens: CrossMAE and BootMAE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import losses
from selfsup.augment import masking
from selfsup.losses.masked import patchify, standardize_channels, standardize_patches
from selfsup.methods.base import view_keys
from selfsup.methods.masked.bootmae import with_neighbours
from tolerances import FLOAT32

KEY = jax.random.key(3)


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def begun(name, **changes):
    method, rows = small.make(name, **changes), one_view()
    return (method, rows, *small.initial(method, rows))


@pytest.mark.slow
# The authors' numbers of predicted patches: N - int(N (1 - ratio)) - int(N (ratio - predict)), N = 16.
@pytest.mark.parametrize('ratio, predict, count', [(0.5, 0.25, 4), (0.5, 0.5, 8), (0.7, 0.3, 6)])
def test_crossmae_predicts_a_part_of_the_hidden_patches(ratio, predict, count):
    method, rows, params, extra = begun('crossmae', ratio=ratio, predict=predict, inter_block=False)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    _, hidden = masking.random(view_keys(rows, 1)(0), (4, 4), ratio)
    assert outputs['places'].shape == (16, count)
    for row, places in zip(np.asarray(hidden), np.asarray(outputs['places']), strict=True):
        assert len(set(places)) == count and row[places].all()


@pytest.mark.slow
@pytest.mark.parametrize('inter_block', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_crossmae_compares_the_normalised_patches_that_its_decoder_is_asked_for(inter_block):
    method, rows, params, extra = begun('crossmae', inter_block=inter_block)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    value, _ = small.criterion(method, params, outputs, extra, rows, KEY)
    encoder, decoder = small.OWN_NETWORKS['crossmae'].values()
    images, places = rows['views'][0], outputs['places']
    keep, _ = masking.random(view_keys(rows, 1)(0), (4, 4), 0.5)
    seen = {'method': 'tokens', 'keep': keep}
    tokens = encoder.apply({'params': params['encoder']}, images, **seen)
    maps = encoder.apply({'params': params['encoder']}, images, blocks=2, of='block', **seen) if inter_block else ()
    sized = decoder.clone(out=4)
    predictions = sized.apply({'params': params['decoder']}, tokens, keep, (4, 4), places, maps=maps)
    np.testing.assert_allclose(outputs['predictions'], predictions, atol=FLOAT32)
    np.testing.assert_allclose(outputs['features'][0], tokens[:, 1:].mean(axis=1), atol=FLOAT32)
    targets = jnp.take_along_axis(standardize_patches(patchify(images, 2)), places[..., None], axis=1)
    np.testing.assert_allclose(value, jnp.mean((predictions - targets) ** 2), rtol=FLOAT32)
    assert ('map_weights' in params['decoder']) == inter_block


def test_neighbours_of_hidden_patches_weigh():
    """By the authors' average pooling of 3 x 3 patches, zeros outside the grid."""
    hidden = np.array([[1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1]], bool)
    padded = np.pad(hidden.reshape(3, 4).astype(float), 1)
    expected = [[padded[i : i + 3, j : j + 3].sum() / 9 for j in range(4)] for i in range(3)]
    expected = hidden * (1 + np.reshape(expected, (1, 12)))
    np.testing.assert_allclose(with_neighbours(jnp.asarray(hidden), (3, 4)), expected, rtol=FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize('neighbours', [False, True])
def test_bootmae_adds_the_errors_of_pixels_and_of_the_targets_tokens(neighbours):
    """By the authors' lines: weighted sums over the number of hidden patches; the first decoder sees block 1's output."""
    method, rows, params, extra = begun('bootmae', neighbours=neighbours, feature_weight=0.5)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    encoder, decoder, predictor = small.OWN_NETWORKS['bootmae'].values()
    images, weights = rows['views'][0], np.asarray(outputs['weights'])
    hidden = np.asarray(masking.block(view_keys(rows, 1)(0), (4, 4), 8, exact=True))
    assert (hidden.sum(axis=1) == 8).all()
    np.testing.assert_allclose(weights, with_neighbours(jnp.asarray(hidden), (4, 4)) if neighbours else hidden)
    keep = jnp.stack([jnp.flatnonzero(~row) for row in hidden])
    seen = {'method': 'tokens', 'keep': keep}
    tokens = encoder.apply({'params': params['encoder']}, images, **seen)
    low, high = encoder.apply({'params': params['encoder']}, images, blocks=2, of='block', **seen)
    pixels = decoder.clone(out=4).apply({'params': params['decoder']}, tokens, keep, (4, 4), maps=(low,))
    found = predictor.clone(out=16).apply({'params': params['predictor']}, tokens, keep, (4, 4), maps=(high,))
    patches = np.asarray(patchify(images, 2), np.float64)  # of one channel
    patches = (patches - patches.mean(2, keepdims=True)) / np.sqrt(patches.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(outputs['targets']['pixels'], patches, atol=1e-4)
    frozen = {'params': extra['target']['params']['encoder']}
    target = encoder.apply(frozen, images, method='tokens', of='block')[:, 1:]

    def standard(x):
        x = np.asarray(x, np.float64)
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    errors = (np.asarray(pixels) - patches) ** 2, (standard(found) - standard(target)) ** 2
    parts = [np.sum(weights * error.mean(-1)) / hidden.sum() for error in errors]
    np.testing.assert_allclose([metrics['pixel_loss'], metrics['token_loss']], parts, rtol=1e-4)
    np.testing.assert_allclose(value, parts[0] + 0.5 * parts[1], rtol=1e-4)


@pytest.mark.slow
def test_bootmaes_tokens_count_more_and_more():
    method, rows, params, extra = begun('bootmae', warmup_steps=4)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    for step, share in enumerate((0.25, 0.5, 0.75, 1.0, 1.0)):
        now = {**rows, 'step': jnp.asarray(step)}
        value, (_, metrics) = small.criterion(method, params, outputs, extra, now, KEY)
        np.testing.assert_allclose(value, metrics['pixel_loss'] + share * metrics['token_loss'], rtol=FLOAT32)


def test_channels_are_standardized_apart(x64):
    patches = np.random.RandomState(0).randn(2, 3, 12)
    found = np.asarray(standardize_channels(jnp.asarray(patches), 3)).reshape(2, 3, 4, 3)
    x = patches.reshape(2, 3, 4, 3)
    np.testing.assert_allclose(found, (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5))


@pytest.mark.slow
def test_weights_of_patches_do_not_change_what_is_divided_by(x64, own_checks):
    predictions, targets = np.random.RandomState(0).randn(2, 2, 3, 4)
    hidden, weights = np.array([[1, 1, 0], [0, 1, 0]], bool), np.arange(6.0).reshape(2, 3)
    found = losses.masked_mse(predictions, targets, hidden, normalize=False, weights=weights)
    errors = ((predictions - targets) ** 2).mean(-1)
    np.testing.assert_allclose(found, np.sum((weights * errors)[hidden]) / 3)
    with pytest.raises(ValueError, match=r'weights must have shape \[2, 3\], not \[2, 2\]'):
        losses.masked_mse(predictions, targets, hidden, weights=weights[:, :2])
