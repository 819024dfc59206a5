"""Masked image modelling: masks, the loss against the authors' numbers, and the method."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from jax.test_util import check_grads
from PIL import Image
from programs import called, compiled, losses, patchify, unpatchify, with_gradients
from selfsup import losses as plain
from selfsup import models
from selfsup.augment import masking
from selfsup.data.sources import from_arrays
from selfsup.engine import report
from selfsup.engine.build import Data
from selfsup.engine.controls import controlled
from selfsup.engine.encoder import Encoder
from selfsup.engine.pictures import plot_reconstructions, reconstructions
from selfsup.errors import UserError
from selfsup.methods.masked.mae import mae
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


def noise(seed, shape):
    return np.random.RandomState(seed).randn(*shape)


def golden_inputs():
    """The inputs on which the authors' code was run; theirs are channels first."""
    images = noise(0, (2, 3, 8, 8)).transpose(0, 2, 3, 1)
    return images, noise(1, (2, 4, 48)), np.array([[1, 1, 0, 1], [1, 0, 1, 1]], bool)


def test_patches_are_in_the_authors_order(x64):
    images, *_ = golden_inputs()
    expected = [1.7640523, 0.1774261, 0.6722948, 0.4001572, -0.4017809, 0.4074618]
    np.testing.assert_allclose(patchify(images, 4)[0, 0, :6], expected, atol=1e-7)


def test_patches_go_back_to_images():
    images = noise(0, (2, 6, 9, 2)).astype(np.float32)
    patches = patchify(images, 3)
    assert patches.shape == (2, 6, 18)
    np.testing.assert_array_equal(patches[1, 4], images[1, 3:, 3:6].reshape(-1))  # second row, second column
    np.testing.assert_array_equal(unpatchify(patches, 3, (2, 3)), images)


# Mean squared error of raw pixels, and of patches brought to mean 0 and variance 1 (ddof 1).
@pytest.mark.parametrize('normalize, expected', [(False, 1.9789051394), (True, 2.0471205280)])
def test_loss_equals_the_authors(normalize, expected, x64):
    images, predictions, hidden = golden_inputs()
    value = losses.masked_mse(predictions, patchify(images, 4), hidden, normalize=normalize)
    np.testing.assert_allclose(value, expected, rtol=GOLDEN_FLOAT64)


def test_loss_equals_numpy_and_its_gradient_central_differences(x64):
    images, predictions, hidden = golden_inputs()
    targets = patchify(images, 4)
    scaled = (targets - targets.mean(2, keepdims=True)) / np.sqrt(targets.var(2, ddof=1, keepdims=True) + 1e-6)
    expected = np.mean((predictions - scaled)[hidden] ** 2)
    loss = compiled(plain.masked_mse)
    np.testing.assert_allclose(loss(predictions, targets, hidden), expected, rtol=FLOAT64)
    check_grads(lambda p, t: loss(p, t, hidden), (predictions, targets), order=1, modes=['rev'], rtol=GRADIENT)


def test_shown_patches_do_not_count():
    images, predictions, hidden = golden_inputs()
    targets, predictions = patchify(images.astype(np.float32), 4), predictions.astype(np.float32)
    changed = np.where(hidden[..., None], predictions, np.float32(1e3))
    loss = with_gradients(plain.masked_mse)
    value, (gradient, _) = jax.device_get(loss(predictions, targets, hidden))
    assert loss(changed, targets, hidden)[0] == value
    assert np.abs(gradient[~hidden]).max() == 0 and np.abs(gradient[hidden]).min() > 0


@pytest.mark.parametrize('patch', [2, 4])
def test_a_prediction_of_zeros_scores_one_less_its_share_of_a_value(patch):
    targets = patchify(noise(0, (4, 8, 8, 3)).astype(np.float32), patch)
    n = targets.shape[2]
    value = losses.masked_mse(np.zeros_like(targets), targets, np.ones(targets.shape[:2], bool))
    np.testing.assert_allclose(value, (n - 1) / n, rtol=FLOAT32)


def test_constant_patches_nothing_hidden_and_half_precision_are_finite():
    targets, zeros = np.full((2, 3, 4), 0.7, np.float32), np.zeros((2, 3, 4), jnp.bfloat16)
    for hidden in (np.ones((2, 3), bool), np.zeros((2, 3), bool)):
        value, gradients = with_gradients(plain.masked_mse)(zeros, targets, hidden)
        assert value == 0 and value.dtype == jnp.float32
        assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)


REFUSED = {
    'shapes': (((2, 3, 4), (2, 3, 5), (2, 3), bool), ValueError, r'\[2, 3, 4\] and \[2, 3, 5\]'),
    'hidden': (((2, 3, 4), (2, 3, 4), (2, 4), bool), ValueError, r'hidden must have shape \[2, 3\], not \[2, 4\]'),
    'type': (((2, 3, 4), (2, 3, 4), (2, 3), float), TypeError, 'hidden must be a boolean array, not float32'),
    'one value': (((2, 3, 1), (2, 3, 1), (2, 3), bool), ValueError, 'at least 2 values a patch'),
}


@pytest.mark.parametrize('given, error, message', REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_do_not_fit_are_refused(given, error, message, own_checks):
    predictions, targets, hidden, dtype = given
    with pytest.raises(error, match=message):
        losses.masked_mse(jnp.zeros(predictions), jnp.zeros(targets), jnp.zeros(hidden, dtype))


def test_patches_that_do_not_tile_are_refused(own_checks):
    with pytest.raises(ValueError, match='patches of 3 do not tile images of 8x9'):
        patchify(jnp.zeros((1, 8, 9, 1)), 3)
    with pytest.raises(ValueError, match=r'\[batch, 6, a multiple of 4\], not \[1, 5, 4\]'):
        unpatchify(jnp.zeros((1, 5, 4)), 2, (2, 3))


def test_mask_of_given_noise_equals_the_authors(x64):
    keep, hidden = called(masking.keep_smallest, np.random.RandomState(3).rand(2, 16), count=4)
    np.testing.assert_array_equal(keep, [[10, 8, 6, 7], [0, 7, 11, 2]])
    assert ''.join(str(int(h)) for h in hidden[0]) == '1111110001011111'


# Kept patches of the authors' int(N (1 - ratio)), rounding of floats included.
@pytest.mark.parametrize('grid, ratio, count', [((8, 8), 0.6, 25), ((14, 14), 0.75, 49), ((2, 3), 0.0, 6)])
def test_masks_hide_a_static_number_of_patches(grid, ratio, count):
    keep, hidden = called(masking.random, jax.random.split(jax.random.key(0), 5), grid=grid, ratio=ratio)
    assert keep.shape == (5, count) and hidden.shape == (5, grid[0] * grid[1])
    for row, mask in zip(keep, hidden, strict=True):
        assert sorted(int(i) for i in row) == list(np.flatnonzero(~mask))


def test_masks_are_uniform_and_one_program_makes_them_all():
    draw = chex.assert_max_traces(lambda keys: masking.random(keys, (4, 4), 0.75)[1], n=1)
    draw = jax.jit(draw)
    hidden = np.concatenate([draw(jax.random.split(jax.random.key(seed), 500)) for seed in range(8)])
    # Deviation of a share over 4000 draws: 0.0068; the largest of 16 is within four of them.
    np.testing.assert_allclose(hidden.mean(axis=0), 0.75, atol=0.028)


def test_a_mask_depends_on_its_own_key_alone():
    keys = jax.random.split(jax.random.key(0), 6)
    whole = called(masking.random, keys, grid=(4, 4), ratio=0.5)
    parts = [called(masking.random, keys[i : i + 2], grid=(4, 4), ratio=0.5) for i in (0, 2, 4)]
    for number in range(2):
        np.testing.assert_array_equal(whole[number], np.concatenate([p[number] for p in parts]))


@pytest.mark.parametrize('ratio', [-0.1, 0.95, 1.0])
def test_ratios_that_hide_nothing_or_everything_are_refused(ratio):
    with pytest.raises(ValueError, match=f'keep a patch of 16, not {ratio}'):
        masking.random(jax.random.split(jax.random.key(0), 2), (4, 4), ratio)


ENCODER = models.ViT(dim=16, depth=2, heads=2, patch=2, positions='sincos', pool='mean')
DECODER = models.TransformerDecoder(dim=8, depth=1, heads=2)
METHOD = mae(ENCODER, DECODER, ratio=0.75)
KEY = jax.random.key(3)


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def unseen(rows):
    """What a criterion sees of a batch."""
    return {name: value for name, value in rows.items() if name != 'views'}


def value_of(params, extra, rows, method=METHOD, shuffled=False):
    """The criterion, with the targets of the control if `shuffled`, which may be traced: one program for both."""
    outputs, extra = method.embed(params, extra, rows, KEY)
    other = controlled('shuffled_targets', outputs)
    outputs = jax.tree.map(lambda own, given: jnp.where(shuffled, given, own), outputs, other)
    return method.criterion(params, outputs, extra, unseen(rows), KEY)


@pytest.mark.slow
def test_mae_says_what_it_needs_and_gives():
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    outputs, new = small.embed(METHOD, params, extra, rows, KEY)
    assert (METHOD.views, METHOD.control, METHOD.uses_labels) == (1, 'shuffled_targets', False)
    assert set(params) == {'encoder', 'decoder'} and jax.tree.leaves(new) == jax.tree.leaves(extra) == []
    shapes = {name: outputs[name].shape for name in ('predictions', 'targets', 'hidden')}
    assert shapes == {'predictions': (16, 16, 4), 'targets': (16, 16, 4), 'hidden': (16, 16)}
    assert [z.shape for z in outputs['features']] == [z.shape for z in outputs['embeddings']] == [(16, 16)]
    assert (outputs['hidden'].sum(axis=1) == 12).all()
    np.testing.assert_array_equal(outputs['targets'], patchify(rows['views'][0], 2))


@pytest.mark.slow
def test_maes_encoder_may_see_mask_tokens_in_the_place_of_hidden_patches():
    """It then gives a token of every patch, which its decoder puts in their places; hidden pixels reach neither."""
    method, rows = mae(ENCODER, DECODER, ratio=0.75, mask_tokens=True), one_view()
    params, extra = small.initial(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    plain, _ = small.embed(METHOD, {**params, 'encoder': params['encoder']}, extra, rows, KEY)
    np.testing.assert_array_equal(outputs['hidden'], plain['hidden'])
    images, hidden = rows['views'][0], outputs['hidden']
    tokens = ENCODER.apply({'params': params['encoder']}, images, method='tokens', hidden=hidden)
    every = jnp.broadcast_to(jnp.arange(16), (16, 16))
    expected = DECODER.clone(out=4).apply({'params': params['decoder']}, tokens, every, (4, 4))
    np.testing.assert_allclose(outputs['predictions'], expected, atol=FLOAT32)
    patches = jnp.where(hidden[..., None], 5.0, patchify(images, 2))
    other, _ = small.embed(method, params, extra, {**rows, 'views': (unpatchify(patches, 2, (4, 4)),)}, KEY)
    np.testing.assert_array_equal(other['predictions'], outputs['predictions'])
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert float(jnp.abs(gradients['encoder']['mask_token']).max()) > 0


def test_mae_encodes_all_patches():
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    found = compiled(METHOD.encode)(METHOD.network(params, extra), rows['views'][0])
    expected = compiled(ENCODER.apply)({'params': params['encoder']}, rows['views'][0])
    for name in ('features', 'embeddings'):
        np.testing.assert_allclose(found[name], expected, atol=FLOAT32)


def test_hidden_pixels_reach_the_loss_alone():
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    outputs, _ = small.embed(METHOD, params, extra, rows, KEY)
    patches = np.where(outputs['hidden'][..., None], np.float32(5), outputs['targets'])
    other, _ = small.embed(METHOD, params, extra, {**rows, 'views': (unpatchify(patches, 2, (4, 4)),)}, KEY)
    for name in ('features', 'predictions', 'hidden'):
        jax.tree.map(np.testing.assert_array_equal, outputs[name], other[name])


def test_mae_depends_on_each_examples_own_key():
    """A batch in two pieces gives what it gives in one; other keys give other masks, in the same program."""
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    embed = jax.jit(chex.assert_max_traces(lambda rows: METHOD.embed(params, extra, rows, KEY)[0], n=2))
    whole = embed(rows)
    pieces = [embed(jax.tree.map(lambda x, i=i: x[i : i + 8] if jnp.ndim(x) else x, rows)) for i in (0, 8)]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=FLOAT32), whole, joined)
    others = [embed({**rows, 'keys': jax.random.split(jax.random.key(seed), small.BATCH)}) for seed in (7, 8)]
    assert (others[0]['hidden'] != others[1]['hidden']).any()


def test_every_parameter_gets_a_finite_gradient():
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    (value, (_, metrics)), gradients = small.loss_and_gradient(METHOD, params, extra, rows, KEY)
    assert np.isfinite(value) and set(metrics) == {'explained_share'}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_what_is_explained_is_compared_with_the_mean_at_each_place():
    """A decoder of zeros scores (n − 1)/n; the mean patch of the batch, which explains nothing, somewhat less."""
    rows = one_view()
    params, extra = small.initial(METHOD, rows)
    params['decoder']['head'] = jax.tree.map(np.zeros_like, params['decoder']['head'])
    outputs, _ = small.embed(METHOD, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(METHOD, params, outputs, extra, unseen(rows), KEY)
    np.testing.assert_allclose(value, 3 / 4, rtol=1e-3)  # (n - 1) / n; 1e-6 is added to variances
    patches = np.asarray(patchify(rows['views'][0], 2), np.float64)
    patches = (patches - patches.mean(2, keepdims=True)) / np.sqrt(patches.var(2, ddof=1, keepdims=True) + 1e-6)
    baseline = np.mean(((patches - patches.mean(0, keepdims=True)) ** 2)[np.asarray(outputs['hidden'])])
    np.testing.assert_allclose(metrics['explained_share'], 1 - value / baseline, atol=1e-4)
    assert metrics['explained_share'] < 0


def explained_after(method, rows, steps=200):
    """The share that is explained at the end of a short training, and of one of the control."""
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, state, number, shuffled):
        keys = jax.random.split(jax.random.fold_in(KEY, number), small.BATCH)
        order = jax.random.permutation(jax.random.fold_in(KEY, number), small.BATCH)
        now = {**rows, 'keys': keys, 'views': (rows['views'][0][order],)}
        (_, (_, metrics)), gradients = jax.value_and_grad(value_of, has_aux=True)(params, extra, now, method, shuffled)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, metrics['explained_share']

    found = []
    for shuffled in (False, True):
        params, extra = small.initial(METHOD, one_view())
        state, shares = compiled(optimizer.init)(params), []
        for number in range(steps):
            params, state, share = step(params, state, number, shuffled)
            shares.append(share)
        found.append(np.mean([float(share) for share in shares[-20:]]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize('normalize', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_training_explains_pixels_and_the_control_does_not(normalize):
    """Every image is a ramp with a slope of its own: what is seen tells what is hidden, in that image alone."""
    method = mae(ENCODER, DECODER, ratio=0.5, normalize=normalize)
    slopes = np.random.default_rng(0).normal(size=(small.BATCH, 1, 1, 1))
    ramp = np.broadcast_to(np.linspace(-1, 1, 8)[None, :, None, None], (1, 8, 8, 1))
    trained, control = explained_after(method, {**one_view(), 'views': (jnp.asarray(slopes * ramp, jnp.float32),)})
    assert trained > 0.5
    assert control < 0.25


BAD = {
    'encoder': (lambda: mae(small.ENCODER, DECODER), 'needs an encoder of patches .*, not ConvNet'),
    'decoder': (lambda: mae(ENCODER, small.PROJECTOR), "decoder of kind 'transformer', not MLP"),
    'ratio': (lambda: small.initial(mae(ENCODER, DECODER, ratio=0.95), one_view()), 'keeps none of the 16 patches'),
    'patch': (lambda: small.initial(mae(ENCODER.clone(patch=3), DECODER), one_view()), 'does not divide images of 8x8'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_mae_cannot_use_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def masked_encoder(normalize):
    method = mae(ENCODER, DECODER, normalize=normalize)
    config = small.digits_config()
    with config.unlocked():
        config.method.normalize = normalize
    params, extra = small.initial(METHOD, one_view())  # the parameters of both
    return Encoder(config, method, params, extra, 0)


@pytest.mark.parametrize('normalize', [True, False])
def test_pictures_keep_what_was_seen_and_show_the_prediction(normalize, tmp_path):
    encoder, images = masked_encoder(normalize), np.asarray(small.images(5))
    decoder = encoder.params['decoder']
    silent = {**decoder, 'head': jax.tree.map(np.zeros_like, decoder['head'])}
    encoder.params = {**encoder.params, 'decoder': silent}
    found = reconstructions(encoder, images)
    np.testing.assert_allclose(found['original'], images, atol=FLOAT32)
    seen = np.repeat(np.repeat(~np.asarray(hidden_of(encoder, images)).reshape(5, 4, 4), 2, 1), 2, 2)[..., None]
    np.testing.assert_allclose(np.where(seen, found['masked'], 0), np.where(seen, images, 0), atol=FLOAT32)
    np.testing.assert_allclose(np.where(seen, found['reconstructed'], 0), np.where(seen, images, 0), atol=FLOAT32)
    assert (found['masked'][~seen] == 0.5).all() and seen.mean() == 0.25
    # Predictions are 0 in the units of the targets: the patch's mean, or mid-grey.
    patches = patchify(images, 2)
    mean = unpatchify(np.broadcast_to(patches.mean(axis=2, keepdims=True), patches.shape), 2, (4, 4))
    expected = np.asarray(mean) if normalize else np.full_like(images, 0.5)
    np.testing.assert_allclose(found['reconstructed'][~seen], expected[~seen], atol=1e-3)
    assert plot_reconstructions(encoder, images, tmp_path / 'seen.png')
    with Image.open(tmp_path / 'seen.png') as picture:
        assert picture.size == (5 * 100, 3 * 100) and picture.mode == 'L'


def hidden_of(encoder, images):
    """The masks of the pictures: they follow from fixed keys."""
    keys = jax.random.split(jax.random.key(0), len(images))
    batch = {**one_view(len(images)), 'views': (jnp.asarray(images),), 'keys': keys}
    return small.embed(encoder.method, encoder.params, encoder.extra, batch, KEY)[0]['hidden']


@pytest.mark.slow
def test_the_report_shows_reconstructions(tmp_path):
    rows = (255 * np.asarray(small.images(12))).astype(np.uint8)
    source = from_arrays('made', rows, np.full(12, -1))  # without labels there are no probes to compute
    report.finish(tmp_path, Data(source, source, source, source), masked_encoder(True), None, [])
    assert '](reconstructions.png)' in (tmp_path / 'report.md').read_text()
    with Image.open(tmp_path / 'reconstructions.png') as picture:
        assert picture.size == (8 * 100, 3 * 100)


def test_a_method_without_pixels_has_no_pictures(tmp_path):
    method = small.make('simclr')
    encoder = Encoder(small.digits_config(), method, *small.initial(method, small.batch()), 0)
    assert not plot_reconstructions(encoder, np.asarray(small.images(4)), tmp_path / 'none.png')
    assert not (tmp_path / 'none.png').exists()
