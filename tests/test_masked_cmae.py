"""CMAE: its shifted views, what it compares, what moves, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import losses, methods, models
from selfsup.augment import masking
from selfsup.errors import UserError
from selfsup.losses.masked import patchify, standardize_patches
from selfsup.methods.base import view_keys
from selfsup.methods.masked.cmae import corners, cropped
from tolerances import FLOAT32

KEY = jax.random.key(3)
ENCODER, DECODER = small.OWN_NETWORKS['cmae'].values()


def begun(**changes):
    method, rows = small.make('cmae', **changes), small.batch()
    rows = {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}
    return (method, rows, *small.initial(method, rows))


def test_parts_begin_at_their_corners():
    images = jnp.arange(2 * 5 * 6 * 1.0).reshape(2, 5, 6, 1)
    found = cropped(images, jnp.array([[1, 2], [0, 3]]), (4, 3))
    np.testing.assert_array_equal(found[0], images[0, 1:5, 2:5])
    np.testing.assert_array_equal(found[1], images[1, :4, 3:6])


def test_every_shift_is_drawn_as_often():
    found = np.asarray(corners(jax.random.split(jax.random.key(0), 4500), 2))
    counts = np.zeros((3, 3))
    np.add.at(counts, tuple(found.T), 1)
    # Of 500 each, with a deviation of 21: the largest of nine is within four of them.
    np.testing.assert_allclose(counts, 500, atol=84)


@pytest.mark.slow
def test_cmae_compares_pixels_of_one_part_and_the_projection_of_the_other():
    """Pixels of the upper left part, the mean feature of its decoder, and the target's mean patch of a shifted part."""
    method, rows, params, extra = begun(contrast_weight=0.5)
    outputs, new = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    part = rows['views'][0][:, :6, :6]
    keep, hidden = masking.units(view_keys(rows, 1)(0), (3, 3), 0.5, 1)
    np.testing.assert_array_equal(outputs['counted'], hidden)
    tokens = ENCODER.apply({'params': params['encoder']}, part, method='tokens', keep=keep)
    pixels = DECODER.clone(out=4).apply({'params': params['decoder']}, tokens, keep, (3, 3))
    np.testing.assert_allclose(outputs['predictions'], pixels, atol=FLOAT32)
    features = DECODER.clone(out=16, depth=1).apply({'params': params['feature_decoder']}, tokens, keep, (3, 3))
    run = {'train': True, 'mutable': ['batch_stats']}
    z = features.mean(axis=1)
    for name, module in (('projector', small.PROJECTOR), ('predictor', small.PREDICTOR)):
        z, _ = module.apply({'params': params[name], 'batch_stats': extra['batch_stats'][name]}, z, **run)
    np.testing.assert_allclose(outputs['projections'], z, atol=1e-4)
    places = np.asarray(corners(view_keys(rows, 4)(0), 2))
    shifted = jnp.stack([x[i : i + 6, j : j + 6] for x, (i, j) in zip(rows['views'][0], places, strict=True)])
    target = extra['target']['params']
    found = ENCODER.apply({'params': target['encoder']}, shifted, method='tokens', of='block')[:, 1:].mean(axis=1)
    stats = {'batch_stats': extra['target']['batch_stats']['projector']}
    theirs, _ = small.PROJECTOR.apply({'params': target['projector'], **stats}, found, **run)
    np.testing.assert_allclose(outputs['targets']['projections'], theirs, atol=1e-4)
    known = standardize_patches(patchify(part, 2))
    parts = [
        float(losses.masked_mse(outputs['predictions'], known, hidden, normalize=False)),
        float(losses.moco_v3(outputs['projections'], theirs, temperature=0.2)),
    ]
    np.testing.assert_allclose([metrics['pixel_loss'], metrics['contrast_loss']], parts, rtol=1e-3)
    np.testing.assert_allclose(value, parts[0] + 0.5 * parts[1], rtol=1e-3)
    moved = new['target']['batch_stats']['projector']
    assert small.tree_distance(moved, stats['batch_stats']) > 1e-3


@pytest.mark.slow
def test_every_parameter_gets_a_gradient_and_the_target_none():
    method, rows, params, extra = begun()
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)

    def through_target(target):
        changed = {**extra, 'target': {**extra['target'], 'params': target}}
        return small.loss_and_gradient(method, params, changed, rows, KEY)[0][0]

    start = extra['target']['params']
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(jax.grad(through_target)(start)))
    _, later = method.after(jax.tree.map(lambda x: x + 1.0, params), extra, jnp.asarray(4))
    expected = jax.tree.map(lambda x: x + 0.1, start)  # of a momentum of 0.9
    assert small.tree_distance(later['target']['params'], expected) < 1e-6


def started(encoder=ENCODER, decoder=DECODER, projector=small.PROJECTOR, predictor=small.PREDICTOR, **keywords):
    return lambda: small.initial(methods.cmae(encoder, decoder, projector, predictor, **keywords), small.batch())


BAD = {
    'encoder': (started(small.ENCODER), 'cmae needs an encoder of patches .*, not ConvNet'),
    'decoder': (
        started(decoder=models.LinearDecoder()),
        "cmae needs a decoder of kind 'transformer', not LinearDecoder",
    ),
    'projector': (started(projector=DECODER), "cmae needs a projector of kind 'mlp', not TransformerDecoder"),
    'predictor': (started(predictor=DECODER), "cmae needs a predictor of kind 'mlp', not TransformerDecoder"),
    'shift': (started(shift=8), 'method.shift=8 leaves 0x0 of views of 8x8'),
    'patches': (started(shift=1), 'method.shift=1 leaves 7x7 of views of 8x8, which model.patch=2 does not divide'),
    'units': (started(shift=2), 'method.unit=2: units of 2x2 patches do not tile a grid of 3x3'),
    'ratio': (started(shift=2, unit=1, ratio=0.95), 'method.ratio=0.95, .*: ratio must hide at least one of 9 units'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used_is_refused_in_one_line(call, message):
    with pytest.raises(UserError, match=message) as refused:
        call()
    assert '\n' not in str(refused.value)
