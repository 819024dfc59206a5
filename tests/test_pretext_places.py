"""CPC and AMDIM: their losses against NumPy, what the context sees, and which places are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.test_util import check_grads
from programs import called, losses
from selfsup import losses as plain
from selfsup import methods
from selfsup.engine.controls import controlled
from selfsup.errors import UserError
from selfsup.methods.pretext.amdim import window_means
from selfsup.methods.pretext.cpc import RowsAbove, overlapping
from test_pretext import traced
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GRADIENT

KEY = jax.random.key(3)


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def cpc_reference(predictions, targets, scale=0.1):
    """The pseudo-code of CPC v2: every element, its label, and a cross-entropy over all targets."""
    batch, rows, columns, dim = predictions.shape
    every, found = targets.reshape(-1, dim), []
    ahead = targets.shape[1] - rows
    for b in range(batch):
        for r in range(rows):
            for c in range(columns):
                logits = scale * every @ predictions[b, r, c]
                label = (b * targets.shape[1] + r + ahead) * columns + c
                found.append(np.log(np.exp(logits).sum()) - logits[label])
    return np.mean(found)


def amdim_reference(sources, targets, clip=20.0, penalty=5e-2):
    """`_model_scores` of the authors' costs.py, one positive after another."""
    batch, places, dim = targets.shape
    raw = np.einsum('bd,npd->bnp', sources, targets) / np.sqrt(dim)
    scores = clip * np.tanh(raw / clip)
    found = []
    for i in range(batch):
        negatives = np.exp(np.delete(scores[i], i, axis=0)).sum()
        found += [np.log(np.exp(scores[i, i, p]) + negatives) - scores[i, i, p] for p in range(places)]
    return np.mean(found) + penalty * np.mean(raw**2)


def test_cpc_is_its_pseudo_code(x64):
    predictions, targets = noise(0, 3, 2, 4, 5), noise(1, 3, 4, 4, 5)
    for scale in (0.1, 1.0):
        value = losses.cpc(predictions, targets, scale=scale)
        np.testing.assert_allclose(value, cpc_reference(predictions, targets, scale), rtol=FLOAT64)
    check_grads(
        plain.cpc, (jnp.asarray(predictions), jnp.asarray(targets)), 1, modes='rev', atol=GRADIENT, rtol=GRADIENT
    )
    same = np.broadcast_to(targets[:1, :1, :1], targets.shape)
    np.testing.assert_allclose(losses.cpc(predictions, same), np.log(3 * 16), rtol=FLOAT64)  # collapse
    # Orthogonal codes of the places: each prediction finds its own.
    codes = np.eye(48).reshape(3, 4, 4, 48)
    assert float(losses.cpc_correct(codes[:, 2:], codes)) == 1
    assert float(losses.cpc(500 * codes[:, 2:], codes)) < 1e-9
    assert float(losses.cpc_correct(np.roll(codes, 1, axis=0)[:, 2:], codes)) == 0


def test_amdim_is_the_authors_term(x64):
    sources, targets = 3 * noise(0, 4, 6), noise(1, 4, 5, 6)
    for fields in ({}, {'clip': 1.5}, {'penalty': 0.0}):
        value = losses.amdim(sources, targets, **fields)
        np.testing.assert_allclose(value, amdim_reference(sources, targets, **fields), rtol=FLOAT64)
    check_grads(plain.amdim, (jnp.asarray(sources), jnp.asarray(targets)), 1, modes='rev', atol=GRADIENT, rtol=GRADIENT)
    zero = losses.amdim(0 * sources, targets)
    np.testing.assert_allclose(zero, np.log(1 + 3 * 5), rtol=FLOAT64)  # collapse
    assert float(losses.amdim(sources[:1], targets[:1], penalty=0.0)) == 0  # no negatives


def test_losses_of_places_in_half_precision_and_of_huge_inputs(own_checks):
    predictions, targets = (jnp.asarray(noise(s, 2, 2, 3, 4), jnp.bfloat16) for s in range(2))
    exact = cpc_reference(*(np.asarray(x, np.float64) for x in (predictions, targets)))
    assert losses.cpc(predictions, targets).dtype == jnp.float32
    np.testing.assert_allclose(losses.cpc(predictions, targets), exact, rtol=BFLOAT16)
    huge = np.float32(1e6)
    value, gradients = jax.value_and_grad(plain.amdim)(huge * np.float32(noise(0, 4, 6)), np.float32(noise(1, 4, 5, 6)))
    assert np.isfinite(value) and np.isfinite(gradients).all()
    with pytest.raises(
        ValueError, match=r'predictions \[2, 3, 3, 4\] must be of the last rows of targets \[2, 2, 3, 4\]'
    ):
        plain.cpc(jnp.ones((2, 3, 3, 4)), jnp.ones((2, 2, 3, 4)))
    with pytest.raises(ValueError, match=r'sources \[4, 6\] and targets \[3, 5, 6\] must be of the same images'):
        plain.amdim(jnp.ones((4, 6)), jnp.ones((3, 5, 6)))


def test_patches_overlap_and_stand_in_their_rows():
    image = np.arange(64.0).reshape(1, 8, 8, 1)
    found = np.asarray(overlapping(jnp.asarray(image), 4, 2))
    assert found.shape == (1, 3, 3, 4, 4, 1)
    for row in range(3):
        for column in range(3):
            expected = image[0, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            np.testing.assert_array_equal(found[0, row, column], expected)
    for patch, stride in ((9, 1), (4, 3)):
        with pytest.raises(UserError, match=f'method.patch={patch} in steps of method.stride={stride} does not tile'):
            overlapping(jnp.asarray(image), patch, stride)


def test_the_context_sees_no_row_below():
    network, x = RowsAbove(8, 3), jnp.asarray(noise(0, 2, 4, 5, 6), jnp.float32)
    variables = network.init(KEY, x)
    before = called(network.apply, variables, x)
    for row in range(4):
        after = called(network.apply, variables, x.at[:, row].add(1.0))
        np.testing.assert_array_equal(after[:, :row], before[:, :row])
        assert (np.abs(after[:, row:] - before[:, row:]).max(axis=(0, 2, 3)) > 1e-4).all()  # depth 3 reaches them all


@pytest.mark.slow
def test_cpc_predicts_its_own_image_and_its_control_another():
    method, rows = small.make('cpc'), small.batch()
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    assert outputs['predictions']['ahead1'].shape == (16, 2, 3, 8) and outputs['targets'].shape == (16, 3, 3, 8)
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    terms = [losses.cpc(outputs['predictions'][f'ahead{k}'], outputs['targets']) for k in (1, 2)]
    np.testing.assert_allclose(value, sum(terms), rtol=FLOAT32)
    assert set(metrics) == {'ahead1', 'ahead2', 'pretext_accuracy'}
    # Predictions that are right become wrong when targets are another image's.
    perfect = {**outputs, 'targets': jnp.asarray(np.eye(144).reshape(16, 3, 3, 144), jnp.float32)}
    perfect['predictions'] = {f'ahead{k}': perfect['targets'][:, k:] for k in (1, 2)}
    shuffled = controlled('shuffled_targets', perfect)
    found = [
        small.criterion(method, params, o, extra, rows, KEY)[1][1]['pretext_accuracy'] for o in (perfect, shuffled)
    ]
    assert [float(x) for x in found] == [1, 0]


def test_windows_are_means_of_neighbouring_places():
    maps = noise(0, 2, 3, 4, 5).astype(np.float32)
    np.testing.assert_array_equal(window_means(jnp.asarray(maps), 1), maps.reshape(2, 12, 5))
    found = np.asarray(window_means(jnp.asarray(maps), 2)).reshape(2, 2, 3, 5)
    for row in range(2):
        for column in range(3):
            expected = maps[:, row : row + 2, column : column + 2].mean(axis=(1, 2))
            np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-4, atol=1e-6)


def test_amdim_adds_three_terms_of_both_directions():
    method, rows = small.make('amdim'), small.batch()
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    assert [x.shape for x in (*outputs['fine'], *outputs['coarse'])] == [(16, 16, 16)] * 2 + [(16, 9, 16)] * 2
    for source, places in zip(outputs['sources'], outputs['coarse'], strict=True):  # each one of its own image's places
        assert (np.abs(np.asarray(places) - np.asarray(source)[:, None]).max(axis=2).min(axis=1) == 0).all()
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    pairs = [(outputs['embeddings'], outputs['fine']), (outputs['embeddings'], outputs['coarse'])]
    pairs.append((outputs['sources'], outputs['coarse']))
    expected = sum((losses.amdim(a[0], b[1]) + losses.amdim(a[1], b[0])) / 2 for a, b in pairs)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(sum(metrics[n] for n in metrics if '_to_' in n), expected, rtol=1e-4)


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: small.make('cpc', ahead=(3,)), r'method.ahead=\(3,\) needs more than 3 rows of patches, not 3'),
        (lambda: small.make('cpc', patch=9), 'method.patch=9 in steps of method.stride=2 does not tile views of 8x8'),
        (lambda: small.make('amdim', windows=(1, 5)), 'method.windows: 5 is larger than the map of 4x4 places'),
        (lambda: small.make('amdim', local_widths=(8,)), r'local_widths=\(8,\) must end in 16, as projector.widths'),
        (lambda: methods.amdim(small.VIT, small.PROJECTOR), 'needs an encoder that gives feature maps, and ViT does not'),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_images_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        traced(make(), small.batch())
