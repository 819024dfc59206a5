"""JigClu: montages and back, its loss against the authors' function in float64 NumPy, blocks, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loss_references import log_sum_exp, unit
from selfsup import methods
from selfsup.errors import UserError
from selfsup.methods.pretext.jigclu import apart, block_orders, montages
from test_gradient import both_ways, close
from test_method_contracts import KEY, begun, multicrop, one_step
from test_regions import HEAD, Maps
from tolerances import FLOAT32, FLOAT64


def test_montages_hold_the_patches_of_a_block_and_come_apart_again():
    rng = np.random.default_rng(0)
    patches = jnp.asarray(rng.normal(size=(6, 4, 2, 2, 3)).astype(np.float32))
    orders = block_orders(jax.random.split(jax.random.key(1), 6), 3, 4)
    assert orders.shape == (2, 12) and (np.sort(orders, axis=1) == np.arange(12)).all()
    assert (np.asarray(orders[0]) != np.asarray(orders[1])).any()
    made = np.asarray(montages(patches, orders))
    assert made.shape == (6, 4, 4, 3)
    flat = np.asarray(patches).reshape(2, 12, 2, 2, 3)
    for number, montage in enumerate(made):
        block, first = divmod(4 * number, 12)
        for cell in range(4):
            row, column = divmod(cell, 2)
            shown = montage[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(shown, flat[block, orders[block, first + cell]])
    # Each montage as its own map: a patch's feature is the mean over its pixels.
    found = apart(jnp.asarray(made), orders, 4)
    np.testing.assert_allclose(found, np.asarray(patches).mean((2, 3)), rtol=FLOAT32, atol=1e-6)


def supclu_reference(z, labels, temperature):
    """The authors' `SupCluLoss`, an anchor at a time, with its factor τ/0.07."""
    z, total = unit(z), 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = z[others] @ z[i] / temperature
        own = np.array([labels[j] == labels[i] for j in others])
        total -= np.mean(logits[own] - log_sum_exp(logits))
    return temperature / 0.07 * total / len(z)


def of_four_patches(rows):
    """A batch whose images have four patches, one of each quarter, in another order of quarters in every view."""
    quarters = [{'quarter': {'answer': jax.nn.one_hot((jnp.arange(small.BATCH) + v) % 4, 4)}} for v in range(4)]
    views = (*rows['views'], *(v[:, ::-1] for v in rows['views']))
    return {**rows, 'views': views, 'view_params': tuple(quarters)}


def test_a_step_is_the_authors_loss():
    rows = of_four_patches(small.batch())
    method, rows, params, extra = begun('jigclu', rows, mixing=4)
    value, outputs, _, _, metrics = one_step(method, rows, params, extra)
    z = np.concatenate([np.asarray(z, np.float64) for z in outputs['embeddings']])
    assert z.shape == (4 * small.BATCH, 16)
    cluster = supclu_reference(z, np.tile(np.arange(small.BATCH), 4), 0.3)
    logits, place = np.asarray(outputs['predictions'], np.float64), 0.0
    for image in range(small.BATCH):
        for patch in range(4):
            place += log_sum_exp(logits[image, patch]) - logits[image, patch, (image + patch) % 4]
    np.testing.assert_allclose(metrics['place'], place / (4 * small.BATCH), rtol=FLOAT32)
    np.testing.assert_allclose(value, cluster + place / (4 * small.BATCH), rtol=FLOAT32)
    right = np.mean(logits.argmax(-1) == (np.arange(small.BATCH)[:, None] + np.arange(4)[None]) % 4)
    np.testing.assert_allclose(metrics['pretext_accuracy'], right, rtol=FLOAT32)


@pytest.mark.slow
def test_a_patch_sees_its_montage_and_no_other_block():
    """Without batch-norm a change of one image reaches the features of its block alone, and some of other images."""
    method = methods.jigclu(Maps(), HEAD, mixing=4)
    rows = of_four_patches(small.batch())
    params, extra = small.initial(method, rows)
    changed = {**rows, 'views': tuple(v.at[5].add(1.0) for v in rows['views'])}
    before, after = (np.stack(small.embed(method, params, extra, r, KEY)[0]['features']) for r in (rows, changed))
    differs = np.abs(before - after).max(axis=(0, 2)) > 1e-6
    assert differs[5] and differs[4:8].sum() > 1 and not differs[:4].any() and not differs[8:].any()


@pytest.mark.slow
def test_microbatches_of_whole_blocks_are_exact(x64):
    method = methods.jigclu(Maps(), HEAD, mixing=2)
    close(*both_ways(method, method))
    with pytest.raises(UserError, match='method.mixing=8 must divide the 4 images that the network sees at once'):
        larger = methods.jigclu(Maps(), HEAD, mixing=8)
        both_ways(larger, larger)


def test_what_is_refused():
    with pytest.raises(UserError, match='jigclu needs an encoder that gives feature maps, and ViT does not'):
        methods.jigclu(small.VIT, HEAD)
    method, rows, params, extra = begun('jigclu')

    def refused(match, batch=rows, of=method):
        with pytest.raises(UserError, match=match):
            small.embed(of, params, extra, batch, KEY)

    refused('an even number of views of one size, and gets 4 of 6x6, 8x8', multicrop(rows))
    refused("needs views with the operation 'quarter'", {**rows, 'view_params': ({}, {})})
    refused('method.mixing=3 must divide the 16 images', of=small.make('jigclu', mixing=3))
    refused('2 patches of method.mixing=1 images fill no montages', of=small.make('jigclu', mixing=1))
    odd = {**rows, 'views': tuple(v[:, :5, :5] for v in rows['views'])}
    refused('that of a montage has 5x5 places', odd)


@pytest.mark.slow
def test_the_factor_and_the_weights_are_those_of_the_formula(x64):
    rows = of_four_patches(small.batch())
    method, rows, params, extra = begun('jigclu', rows, cluster_weight=2.0, place_weight=0.5, base_temperature=0.1)
    value, _, _, _, metrics = one_step(method, rows, params, extra)
    expected = 2.0 * 0.3 / 0.1 * metrics['cluster'] + 0.5 * metrics['place']
    np.testing.assert_allclose(value, expected, rtol=FLOAT64 if value.dtype == np.float64 else FLOAT32)
