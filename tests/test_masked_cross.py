"""Methods whose mask tokens attend to the encoder's tokens: CrossMAE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup.augment import masking
from selfsup.losses.masked import patchify, standardize_patches
from selfsup.methods.base import view_keys
from tolerances import FLOAT32

KEY = jax.random.key(3)


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def begun(name, **changes):
    method, rows = small.make(name, **changes), one_view()
    return (method, rows, *small.initial(method, rows))


# The authors' numbers of predicted patches: N - int(N (1 - ratio)) - int(N (ratio - predict)), N = 16.
@pytest.mark.parametrize('ratio, predict, count', [(0.5, 0.25, 4), (0.5, 0.5, 8), (0.7, 0.3, 6)])
def test_crossmae_predicts_a_part_of_the_hidden_patches(ratio, predict, count):
    method, rows, params, extra = begun('crossmae', ratio=ratio, predict=predict, inter_block=False)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    _, hidden = masking.random(view_keys(rows, 1)(0), (4, 4), ratio)
    assert outputs['places'].shape == (16, count)
    for row, places in zip(np.asarray(hidden), np.asarray(outputs['places']), strict=True):
        assert len(set(places)) == count and row[places].all()


@pytest.mark.parametrize('inter_block', [False, True])
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
