"""Losses and targets against the numbers of their authors' code (`tools/golden/losses/make.py`), in float64."""

from pathlib import Path

import numpy as np
import pytest
from programs import called, losses, patchify
from selfsup.losses.masked import standardize_channels, standardize_patches
from selfsup.methods.masked.bootmae import TOKEN_EPSILON, with_neighbours
from selfsup.methods.pretext.relational import related
from tolerances import FLOAT32, FLOAT64

ARRAYS = dict(np.load(Path(__file__).parent / 'losses_golden' / 'arrays.npz'))
# Theirs divide by lengths above 1e-12, ours by lengths with a guard: both are unit vectors to rounding.
LENGTHS = 1e-9


def recorded(name, kind):
    """Inputs ('in') or results ('out') of a case."""
    start = f'{name}/{kind}/'
    return {k.removeprefix(start): v for k, v in ARRAYS.items() if k.startswith(start)}


def at(patches, hidden):
    """Of patches `[batch, patches, values]` the marked ones, equally many of each image."""
    return patches[hidden].reshape(len(patches), -1, patches.shape[2])


def test_histograms_of_gradients_are_those_of_maskfeat(x64):
    """Theirs are a map of cells, of which a patch has 2 x 2."""
    found = losses.hog(recorded('hog', 'in')['images'], patch=8)
    cells = recorded('hog', 'out')['cells'].reshape(
        2, 27, 2, 2, 2, 2
    )  # [image, values, row, its cell, column, its cell]
    expected = cells.transpose(0, 2, 4, 3, 5, 1).reshape(2, 4, -1)
    np.testing.assert_allclose(found, expected, atol=LENGTHS)


def test_both_parts_of_cmae(x64):
    given, expected = recorded('cmae', 'in'), recorded('cmae', 'out')
    targets = patchify(given['images'], 2)
    pixels = losses.masked_mse(given['pixels'], targets, given['hidden'])
    np.testing.assert_allclose(pixels, expected['loss_rc'], rtol=FLOAT64)
    contrast = losses.moco_v3(given['student'], given['target'], temperature=0.07)
    np.testing.assert_allclose(contrast, expected['loss_ct'], rtol=FLOAT64)


def test_crossmae_over_the_patches_that_it_predicts(x64):
    given = recorded('crossmae', 'in')
    known = called(standardize_patches, patchify(given['images'], 2))
    targets, every = at(known, given['hidden']), np.ones((3, 5), bool)
    found = losses.masked_mse(given['predictions'], targets, every, normalize=False)
    np.testing.assert_allclose(found, recorded('crossmae', 'out')['loss'], rtol=FLOAT64)


@pytest.mark.parametrize('case', ['light', 'plain', 'weighted'])
def test_bootmae_of_pixels_and_tokens(case, x64):
    """A quarter of the tokens' loss, half of it, and half with the weights of hidden neighbours."""
    given, hidden = recorded('bootmae', 'in'), recorded('bootmae', 'in')['hidden']
    weights = called(with_neighbours, hidden, (4, 4)) if case == 'weighted' else hidden.astype(float)
    tokens, target = (losses.standardize_tokens(given[k], eps=TOKEN_EPSILON) for k in ('tokens', 'target'))
    known = called(standardize_channels, patchify(given['images'], 2), 3)

    def compared(predictions, targets):
        return losses.masked_mse(predictions, targets, hidden, normalize=False, weights=weights)

    found = compared(patchify(given['pixels'], 2), known)
    found = found + (0.25 if case == 'light' else 0.5) * compared(tokens, target)
    tolerance = FLOAT32 if case == 'weighted' else FLOAT64  # weights are float32
    np.testing.assert_allclose(found, recorded('bootmae', 'out')[case], rtol=tolerance)


def test_dinosr_and_its_codebooks_after_the_batch(x64):
    given, expected = recorded('dinosr', 'in'), recorded('dinosr', 'out')
    tokens, every = given['targets'][None], np.ones((1, 7), bool)
    codes = losses.nearest_codes(tokens, given['sums'], given['counts'])
    np.testing.assert_allclose(losses.dinosr(given['scores'][None], codes, every), expected['loss'], rtol=FLOAT64)
    moved = losses.moved_codes(given['sums'], given['counts'], tokens, codes, every, rate=0.9)
    for found, wanted in zip(moved, (expected['sums'], expected['counts']), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=FLOAT64)


def test_amdims_three_pairs_of_scales_in_both_directions(x64):
    """The method's sum: the mean over directions, three pairs, and the penalty of each."""
    given, expected = recorded('amdim', 'in'), recorded('amdim', 'out')
    one, five, seven = ([given[f'map{scale + 3 * view}'].reshape(3, -1, 4) for view in (0, 1)] for scale in range(3))
    drawn = [x[np.arange(3), given['places']] for x in five]

    def both(sources, targets, penalty):
        return np.mean([losses.amdim(sources[v], targets[1 - v], penalty=penalty) for v in (0, 1)])

    pairs = {'global_5': ([x[:, 0] for x in one], five), 'global_7': ([x[:, 0] for x in one], seven)}
    pairs['local_5'] = (drawn, five)
    for name, pair in pairs.items():
        np.testing.assert_allclose(both(*pair, 0.0), expected[name], rtol=FLOAT64)
    whole = sum(both(*pair, 5e-2) for pair in pairs.values())
    np.testing.assert_allclose(whole, sum(expected.values()), rtol=FLOAT64)


def test_relations_of_four_views_and_their_focal_loss(x64):
    given, expected = recorded('relational', 'in'), recorded('relational', 'out')
    pairs, answers = called(related, tuple(given['views']))
    np.testing.assert_array_equal(pairs, expected['pairs'])
    np.testing.assert_array_equal(answers, expected['answers'])
    logits = expected['pairs'] @ given['head']
    for gamma in (0.0, 2.0):
        found = losses.focal(logits, expected['answers'], gamma=gamma)
        np.testing.assert_allclose(found, expected[f'loss{gamma:.0f}'], rtol=FLOAT64)
