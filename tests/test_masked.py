"""Masked image modelling: masks, the loss against the authors' numbers, and the method."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from selfsup import losses
from selfsup.augment import masking
from selfsup.losses.masked import patchify, unpatchify
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
    np.testing.assert_allclose(patchify(jnp.asarray(images), 4)[0, 0, :6], expected, atol=1e-7)


def test_patches_go_back_to_images():
    images = jax.random.normal(jax.random.key(0), (2, 6, 9, 2))
    patches = patchify(images, 3)
    assert patches.shape == (2, 6, 18)
    np.testing.assert_array_equal(patches[1, 4], images[1, 3:, 3:6].reshape(-1))  # second row, second column
    np.testing.assert_array_equal(unpatchify(patches, 3, (2, 3)), images)


# Mean squared error of raw pixels, and of patches brought to mean 0 and variance 1 (ddof 1).
@pytest.mark.parametrize('normalize, expected', [(False, 1.9789051394), (True, 2.0471205280)])
def test_loss_equals_the_authors(normalize, expected, x64):
    images, predictions, hidden = golden_inputs()
    value = losses.masked_mse(predictions, patchify(jnp.asarray(images), 4), hidden, normalize=normalize)
    np.testing.assert_allclose(value, expected, rtol=GOLDEN_FLOAT64)


def test_loss_equals_numpy_and_its_gradient_central_differences(x64):
    images, predictions, hidden = golden_inputs()
    targets = np.asarray(patchify(jnp.asarray(images), 4))
    scaled = (targets - targets.mean(2, keepdims=True)) / np.sqrt(targets.var(2, ddof=1, keepdims=True) + 1e-6)
    expected = np.mean((predictions - scaled)[hidden] ** 2)
    np.testing.assert_allclose(losses.masked_mse(predictions, targets, hidden), expected, rtol=FLOAT64)
    check_grads(
        lambda p, t: losses.masked_mse(p, t, hidden), (predictions, targets), order=1, modes=['rev'], rtol=GRADIENT
    )


def test_shown_patches_do_not_count():
    images, predictions, hidden = golden_inputs()
    targets = patchify(jnp.asarray(images, jnp.float32), 4)
    predictions = jnp.asarray(predictions, jnp.float32)
    changed = jnp.where(hidden[..., None], predictions, 1e3)
    assert losses.masked_mse(changed, targets, hidden) == losses.masked_mse(predictions, targets, hidden)
    gradient = jax.grad(losses.masked_mse)(predictions, targets, hidden)
    assert float(jnp.abs(gradient[~hidden]).max()) == 0 and float(jnp.abs(gradient[hidden]).min()) > 0


@pytest.mark.parametrize('patch', [2, 4])
def test_a_prediction_of_zeros_scores_one_less_its_share_of_a_value(patch):
    targets = patchify(jax.random.normal(jax.random.key(0), (4, 8, 8, 3)), patch)
    n = targets.shape[2]
    value = losses.masked_mse(jnp.zeros_like(targets), targets, jnp.ones(targets.shape[:2], bool))
    np.testing.assert_allclose(value, (n - 1) / n, rtol=FLOAT32)


def test_constant_patches_nothing_hidden_and_half_precision_are_finite():
    targets, zeros = jnp.full((2, 3, 4), 0.7), jnp.zeros((2, 3, 4), jnp.bfloat16)
    for hidden in (jnp.ones((2, 3), bool), jnp.zeros((2, 3), bool)):
        value, gradients = jax.value_and_grad(losses.masked_mse, argnums=(0, 1))(zeros, targets, hidden)
        assert value == 0 and value.dtype == jnp.float32
        assert all(bool(jnp.isfinite(g).all()) for g in gradients)


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
    keep, hidden = masking.keep_smallest(jnp.asarray(np.random.RandomState(3).rand(2, 16)), 4)
    np.testing.assert_array_equal(keep, [[10, 8, 6, 7], [0, 7, 11, 2]])
    assert ''.join(str(int(h)) for h in hidden[0]) == '1111110001011111'


# Kept patches of the authors' int(N (1 - ratio)), rounding of floats included.
@pytest.mark.parametrize('grid, ratio, count', [((8, 8), 0.6, 25), ((14, 14), 0.75, 49), ((2, 3), 0.0, 6)])
def test_masks_hide_a_static_number_of_patches(grid, ratio, count):
    keep, hidden = masking.random(jax.random.split(jax.random.key(0), 5), grid, ratio)
    assert keep.shape == (5, count) and hidden.shape == (5, grid[0] * grid[1])
    for row, mask in zip(keep, hidden, strict=True):
        assert sorted(int(i) for i in row) == list(np.flatnonzero(~mask))


def test_masks_are_uniform_and_one_program_makes_them_all():
    draw = chex.assert_max_traces(lambda keys: masking.random(keys, (4, 4), 0.75)[1], n=1)
    draw = jax.jit(draw)
    hidden = jnp.concatenate([draw(jax.random.split(jax.random.key(seed), 500)) for seed in range(8)])
    # Deviation of a share over 4000 draws: 0.0068; the largest of 16 is within four of them.
    np.testing.assert_allclose(hidden.mean(axis=0), 0.75, atol=0.028)


def test_a_mask_depends_on_its_own_key_alone():
    keys = jax.random.split(jax.random.key(0), 6)
    whole = masking.random(keys, (4, 4), 0.5)
    parts = [masking.random(keys[i : i + 2], (4, 4), 0.5) for i in (0, 2, 4)]
    for number in range(2):
        np.testing.assert_array_equal(whole[number], jnp.concatenate([p[number] for p in parts]))


@pytest.mark.parametrize('ratio', [-0.1, 0.95, 1.0])
def test_ratios_that_hide_nothing_or_everything_are_refused(ratio):
    with pytest.raises(ValueError, match=f'keep a patch of 16, not {ratio}'):
        masking.random(jax.random.split(jax.random.key(0), 2), (4, 4), ratio)
