"""GMML: what is corrupted and by what, the loss, and what its neighbours in the batch change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import called, patchify, unpatchify
from selfsup import models
from selfsup.engine.controls import controlled
from selfsup.errors import UserError
from selfsup.methods import gmml
from selfsup.methods.masked.gmml import absolute_error, swapped
from tolerances import FLOAT32

KEY = jax.random.key(3)
ENCODER, DECODER = small.OWN_NETWORKS['gmml'].values()


def begun(rows=None, **changes):
    """A method, a batch, and the parameters, which are the same whatever changes."""
    rows = small.batch() if rows is None else rows
    return (small.make('gmml', **changes), rows, *small.started(small.make('gmml'), small.batch()))


def embedded(method, rows, params, extra):
    return small.embed(method, params, extra, rows, KEY)[0]


def test_neighbours_change_places():
    x = jnp.asarray(np.arange(6)[:, None, None])
    np.testing.assert_array_equal(swapped(x)[:, 0, 0], [1, 0, 3, 2, 5, 4])


def test_the_loss_is_the_mean_error_of_corrupted_values_over_views_of_any_size():
    rng = np.random.default_rng(0)
    shapes = ((3, 4, 5), (3, 2, 7))
    predictions, targets = (tuple(rng.normal(size=s).astype(np.float32) for s in shapes) for _ in range(2))
    corrupted = tuple(rng.uniform(size=s) < 0.4 for s in shapes)
    parts = zip(predictions, targets, corrupted, strict=True)
    expected = np.mean(np.concatenate([np.abs(p - t)[c] for p, t, c in parts]))
    value, gradient = jax.device_get(jax.jit(jax.value_and_grad(absolute_error))(predictions, targets, corrupted))
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    assert all(np.abs(g[~c]).max() == 0 < np.abs(g[c]).min() for g, c in zip(gradient, corrupted, strict=True))


@pytest.mark.parametrize(
    'probability, least, most', [(0.0, 0.5, 0.95), pytest.param(1.0, 0.3, 0.6, marks=pytest.mark.slow)]
)
def test_as_much_is_corrupted_as_the_paper_says(probability, least, most):
    outputs = embedded(*begun(image_probability=probability))
    share = np.asarray(outputs['corrupted'][0]).mean((1, 2))
    assert share.min() >= least and share.max() <= most
    np.testing.assert_array_equal(outputs['targets'][0], patchify(small.batch()['views'][0], 2))


def test_a_corrupted_pixel_is_noise_or_the_neighbours_and_reaches_the_loss_alone():
    """With the neighbour's parts alone, what covers an image is its neighbour's, and what is covered is not seen."""
    method, rows, params, extra = begun(image_probability=1.0)
    outputs = embedded(method, rows, params, extra)
    covered = outputs['corrupted'][0]
    own = patchify(rows['views'][0], 2)
    corrupted = np.where(covered, called(swapped, own), own)
    tokens = called(ENCODER.apply, {'params': params['encoder']}, small_images(corrupted), method='tokens')
    np.testing.assert_allclose(outputs['features'][0], tokens[:, 1:].mean(1), atol=FLOAT32)
    # Noise: nothing of the neighbour enters, nor of the pixels that it covers.
    method, rows, params, extra = begun(image_probability=0.0)
    outputs = embedded(method, rows, params, extra)
    other = small_images(np.where(outputs['corrupted'][0], np.float32(7), own))
    changed = embedded(method, {**rows, 'views': (other, *rows['views'][1:])}, params, extra)
    np.testing.assert_allclose(changed['predictions'][0], outputs['predictions'][0], atol=FLOAT32)


def small_images(patches):
    return unpatchify(patches, 2, (4, 4))


@pytest.mark.slow
def test_the_layers_are_averaged_before_the_norm():
    encoder = ENCODER.clone(depth=3)
    method = gmml(encoder, DECODER, layers=(1, 3), largest=0.6, image_probability=1.0)
    rows = small.batch()
    params, extra = small.started(method, rows)
    outputs = embedded(method, rows, params, extra)
    own = patchify(rows['views'][0], 2)
    images = small_images(np.where(outputs['corrupted'][0], called(swapped, own), own))
    found = called(encoder.apply, {'params': params['encoder']}, images, method='tokens', blocks=3, of='block')
    mean = np.asarray((found[0] + found[2]) / 2, np.float64)
    norm = params['encoder']['norm']
    normed = (mean - mean.mean(2, keepdims=True)) / np.sqrt(mean.var(2, keepdims=True) + 1e-6)
    normed = (normed * np.asarray(norm['scale']) + np.asarray(norm['bias'])).astype(np.float32)[:, 1:].reshape(-1, 16)
    head = models.MLP(widths=(16, 4), hidden_norm=False, activation='gelu')
    expected = called(head.apply, {'params': params['decoder']}, normed).reshape(16, 16, 4)
    np.testing.assert_allclose(outputs['predictions'][0], expected, atol=1e-4)


@pytest.mark.slow
def test_every_parameter_gets_a_gradient_and_the_metrics_say_what_is_explained():
    method, rows, params, extra = begun()
    (value, (_, metrics)), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert np.isfinite(value) and set(metrics) == {'explained_share', 'corrupted_share'}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    outputs = embedded(method, rows, params, extra)
    targets, covered = (np.concatenate([np.asarray(x) for x in outputs[k]]) for k in ('targets', 'corrupted'))
    mean = np.concatenate([np.broadcast_to(np.asarray(t).mean(0), t.shape) for t in outputs['targets']])
    baseline = np.abs(mean - targets)[covered].mean()
    np.testing.assert_allclose(metrics['explained_share'], 1 - value / baseline, atol=1e-4)
    np.testing.assert_allclose(metrics['corrupted_share'], covered.mean(), atol=1e-6)


def test_the_control_gives_another_images_pixels():
    outputs = embedded(*begun())
    other = jax.jit(lambda outputs: controlled('shuffled_targets', outputs))(outputs)
    for own, shuffled in zip(outputs['targets'], other['targets'], strict=True):
        np.testing.assert_array_equal(np.roll(own, 1, axis=0), shuffled)


BAD = {
    'encoder': (lambda: gmml(small.ENCODER, DECODER), 'gmml needs an encoder of patches .*, not ConvNet'),
    'decoder': (lambda: gmml(ENCODER, models.LinearDecoder()), "gmml needs a decoder of kind 'mlp', not LinearDecoder"),
    'layers': (lambda: gmml(ENCODER, DECODER), r'method.layers=\(6, 8, 10, 12\) must be at most 1, model.depth'),
    'patch': (lambda: small.initial(gmml(ENCODER.clone(patch=3), DECODER, layers=(1,)), small.batch()), 'model.patch=3'),
    'small': (lambda: small.initial(gmml(ENCODER, DECODER, layers=(1,), largest=0.2), small.batch()), 'method.largest=0.2'),
    'odd': (lambda: embedded(*begun(small.batch(7))), 'needs an even number, not 7'),
}  # fmt: skip


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)
