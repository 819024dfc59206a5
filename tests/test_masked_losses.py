"""The losses and targets of SimMIM, I-JEPA, data2vec and MaskFeat against the authors' numbers and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from programs import compiled, losses, patchify, with_gradients
from selfsup import losses as plain
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT

# The authors' numbers that are printed with seven to ten digits.
PRINTED = 1e-7


def noise(seed, shape):
    return np.random.RandomState(seed).randn(*shape)


def shuffled_pixels(z, weight, bias, side):
    """SimMIM's head: a 1x1 convolution of `[batch, features, rows, columns]` and a pixel shuffle; NumPy."""
    x = np.einsum('bfrc,of->borc', z, weight[:, :, 0, 0]) + bias[None, :, None, None]
    batch, values, rows, columns = x.shape
    x = x.reshape(batch, values // side**2, side, side, rows, columns).transpose(0, 4, 2, 5, 3, 1)
    return x.reshape(batch, rows * side, columns * side, values // side**2)


def simmim_inputs():
    images = noise(0, (2, 3, 8, 8)).transpose(0, 2, 3, 1)
    found = shuffled_pixels(noise(4, (2, 6, 2, 2)), noise(5, (48, 6, 1, 1)), noise(6, (48,)), 4)
    hidden = np.array([[1, 0, 0, 1], [1, 1, 0, 1]], bool)
    return (*(patchify(x, 4) for x in (found, images)), hidden)


@pytest.mark.parametrize('eps, expected', [(3e-5, 2.1429594696), (0.0, 2.1429597375)])
def test_absolute_error_equals_the_authors(eps, expected, x64):
    predictions, targets, hidden = simmim_inputs()
    np.testing.assert_allclose(predictions[0, 0, :12:3], [-1.0726911, 1.7778922, -3.4280136, -0.9908178], atol=PRINTED)
    value = losses.masked_l1(predictions, targets, hidden, eps=eps)
    np.testing.assert_allclose(value, expected, rtol=GOLDEN_FLOAT64)


def ijepa_inputs():
    """Targets, predictions and the patches of two blocks, block by block as in the authors' code."""
    tokens, predictions = noise(0, (2, 8, 16)), noise(1, (4, 3, 16))
    blocks = np.array([[[0, 1, 2], [4, 5, 6]], [[3, 4, 7], [0, 2, 7]]])  # block, image, patch
    places = blocks.transpose(1, 0, 2).reshape(2, 6)
    return tokens, predictions.reshape(2, 2, 3, 16).transpose(1, 0, 2, 3).reshape(2, 6, 16), places


# With standardized targets, and by the mistake of leaving that out.
@pytest.mark.parametrize('standard, expected', [(True, 0.5611412071), (False, 0.5404740999)])
def test_smooth_error_of_blocks_equals_the_authors(standard, expected, x64):
    tokens, predictions, places = ijepa_inputs()
    targets = losses.standardize_tokens(tokens) if standard else tokens
    targets = np.take_along_axis(targets, places[:, :, None], axis=1)
    value = losses.masked_smooth_l1(predictions, targets, np.ones((2, 6), bool))
    np.testing.assert_allclose(value, expected, rtol=GOLDEN_FLOAT64)


LAYERS = noise(0, (3, 2, 8, 16))
# data2vec 2.0's instance norm of each layer, and data2vec's layer norm.
TARGETS = [
    (True, [-0.0465436, -1.9042219, -0.3440011, 1.9483225]),
    (False, [0.0416385, -1.8192577, -0.7421347, 2.1863935]),
]


@pytest.mark.parametrize('instance, expected', TARGETS)
def test_averaged_layers_equal_the_authors(instance, expected, x64):
    found = losses.averaged_layers(tuple(LAYERS), instance=instance)
    np.testing.assert_allclose(found[0, 0, :4], expected, atol=2 * PRINTED)
    if instance:
        np.testing.assert_allclose(np.abs(found).sum(), 210.08847, rtol=PRINTED)


@pytest.mark.parametrize('instance', [True, False])
def test_averaged_layers_equal_numpy_and_forget_a_layers_scale(instance, x64):
    def standard(x, axis):
        return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)

    axis = 1 if instance else 2
    expected = standard(np.mean([standard(h, axis) for h in LAYERS], axis=0), 2)
    layers = tuple(LAYERS)
    np.testing.assert_allclose(losses.averaged_layers(layers, instance=instance), expected, rtol=FLOAT64, atol=FLOAT64)
    scaled = (50.0 * layers[0] + 3.0, *layers[1:])
    np.testing.assert_allclose(losses.averaged_layers(scaled, instance=instance), expected, atol=1e-4)


def test_smooth_error_is_a_square_below_beta_and_a_line_above():
    """By hand for β = 2: errors 1 and 3 give 1/4 and 2."""
    counted, zeros = np.ones((1, 1), bool), np.zeros((1, 1, 4), np.float32)
    for error, expected in ((1.0, 0.25), (3.0, 2.0), (-3.0, 2.0), (0.0, 0.0)):
        value = losses.masked_smooth_l1(zeros + np.float32(error), zeros, counted, beta=2.0)
        np.testing.assert_allclose(value, expected, rtol=FLOAT32)


def arrays():
    predictions, targets = noise(0, (3, 5, 4)), noise(1, (3, 5, 4))
    return predictions, targets, np.random.RandomState(2).rand(3, 5) < 0.6


NUMPY = {
    'masked_l1': (lambda e: np.abs(e), {'eps': 0.0}),
    'masked_mse': (lambda e: e * e, {'normalize': False}),
    'masked_smooth_l1': (lambda e: np.where(np.abs(e) < 0.7, e * e / 1.4, np.abs(e) - 0.35), {'beta': 0.7}),
}
each = pytest.mark.parametrize('name', NUMPY)


@each
def test_losses_equal_numpy_and_their_gradient_central_differences(name, x64):
    (formula, keywords), (predictions, targets, hidden) = NUMPY[name], arrays()
    loss = compiled(getattr(plain, name), **keywords)
    expected = np.mean(formula(predictions - targets)[hidden])
    np.testing.assert_allclose(loss(predictions, targets, hidden), expected, rtol=FLOAT64)
    check_grads(lambda p, t: loss(p, t, hidden), (predictions, targets), order=1, modes=['rev'], rtol=GRADIENT)


@each
def test_only_marked_patches_count(name):
    (_, keywords), (predictions, targets, hidden) = NUMPY[name], arrays()
    predictions, targets = predictions.astype(np.float32), targets.astype(np.float32)
    loss = with_gradients(getattr(plain, name), of=0, **keywords)
    changed = np.where(hidden[..., None], predictions, np.float32(1e3))
    value, gradient = jax.device_get(loss(predictions, targets, hidden))
    assert loss(changed, targets, hidden)[0] == value
    gradient = np.abs(gradient)
    assert gradient[~hidden].max() == 0 and gradient[hidden].min() > 0


@each
def test_nothing_marked_is_zero_and_half_precision_is_summed_in_float32(name):
    (_, keywords), (predictions, targets, hidden) = NUMPY[name], arrays()
    loss = with_gradients(getattr(plain, name), of=0, **keywords)
    for mask in (np.zeros_like(hidden), hidden):
        value, gradient = loss(predictions.astype(jnp.bfloat16), targets, mask)
        assert value.dtype == jnp.float32 and np.isfinite(np.asarray(gradient, np.float32)).all()
        assert (value == 0) == (not mask.any())
    exact, _ = loss(predictions.astype(np.float32), targets.astype(np.float32), hidden)
    np.testing.assert_allclose(value, exact, rtol=BFLOAT16)


REFUSED = {
    'shapes': (lambda: losses.masked_l1(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 5)), HIDDEN), r'\[2, 3, 4\] and \[2, 3, 5\]'),
    'hidden': (
        lambda: losses.masked_l1(jnp.zeros((2, 4, 4)), jnp.zeros((2, 4, 4)), HIDDEN),
        r'hidden must have shape \[2, 4\], not \[2, 3\]',
    ),
    'counted': (
        lambda: losses.masked_smooth_l1(jnp.zeros((2, 4, 4)), jnp.zeros((2, 4, 4)), HIDDEN),
        r'counted must have shape \[2, 4\], not \[2, 3\]',
    ),
    'type': (
        lambda: losses.masked_smooth_l1(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)), jnp.ones((2, 3))),
        'counted must be a boolean array, not float32',
    ),
    'beta': (
        lambda: losses.masked_smooth_l1(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)), HIDDEN, beta=0.0),
        'beta must be positive, not 0.0',
    ),
    'layers': (
        lambda: losses.averaged_layers((jnp.zeros((2, 3, 4)), jnp.zeros((2, 5, 4)))),
        r'one shape \[batch, length, features\], and have \[2, 3, 4\], \[2, 5, 4\]',
    ),
    'cells': (lambda: losses.hog(jnp.zeros((1, 4, 4, 1)), patch=2, cells=3), 'cells=3 must divide the side of a patch, 2'),
    'bins': (lambda: losses.hog(jnp.zeros((1, 4, 4, 1)), patch=2, orientations=0), 'orientations must be at least 1, not 0'),
    'row': (lambda: losses.hog(jnp.zeros((1, 1, 4, 1)), patch=1), r'from 2x2, not \[1, 1, 4, 1\]'),
    'codebooks': (
        lambda: losses.nearest_codes(jnp.zeros((1, 2, 3, 4)), jnp.zeros((2, 5, 4)), jnp.ones((2, 5))),
        r'sums .* do not fit tokens .*: \[2, 5, 4\] and \[1, 2, 3, 4\]',
    ),
    'counts': (
        lambda: losses.nearest_codes(jnp.zeros((1, 2, 3, 4)), jnp.zeros((3, 5, 4)), jnp.ones((3, 4))),
        r'counts must have shape \[3, 5\], not \[3, 4\]',
    ),
    'codes': (
        lambda: losses.dinosr(jnp.zeros((2, 3, 1, 4)), jnp.zeros((2, 3, 2), int), HIDDEN),
        r'have \[2, 3, 1, 4\], \[2, 3, 2\] and \[2, 3\]',
    ),
    'no layers': (lambda: losses.averaged_layers(()), 'and have none'),
}  # fmt: skip
HIDDEN = jnp.ones((2, 3), bool)


@pytest.mark.parametrize('call, message', REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_do_not_fit_are_refused(call, message, own_checks):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def hog_reference(image, patch, cells, orientations):
    """Histograms of one image, pixel by pixel; NumPy."""
    height, width, channels = image.shape
    padded, weights = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode='reflect'), np.array([1.0, 2.0, 1.0])
    side = patch // cells
    found = np.zeros((height // side, width // side, channels, orientations))
    for row, column, channel in np.ndindex(image.shape):
        window = padded[row : row + 3, column : column + 3, channel]
        across, down = weights @ (window[:, 0] - window[:, 2]), weights @ (window[0] - window[2])
        number = int(np.floor(np.arctan2(across, down) / np.pi * orientations)) % orientations
        found[row // side, column // side, channel, number] += np.hypot(across, down)
    found /= np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
    rows, columns = height // patch, width // patch
    return found.reshape(rows, cells, columns, cells, -1).swapaxes(1, 2).reshape(rows * columns, -1)


@pytest.mark.parametrize('cells, orientations', [(1, 9), (2, 5)])
def test_histograms_of_gradients_equal_numpy(cells, orientations, x64):
    images = noise(0, (2, 8, 12, 3))
    found = losses.hog(images, patch=4, cells=cells, orientations=orientations)
    expected = np.stack([hog_reference(image, 4, cells, orientations) for image in images])
    np.testing.assert_allclose(found, expected, atol=FLOAT64)
    brighter = losses.hog(3.0 * images + 7.0, patch=4, cells=cells, orientations=orientations)
    np.testing.assert_allclose(brighter, expected, atol=FLOAT64)


def test_histograms_of_a_ramp_have_one_bin_and_of_one_colour_none():
    """A gradient across falls into the middle bin of nine, π/2; its direction's sign does not count."""
    ramp = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
    for image in (ramp, -ramp):
        inner = losses.hog(image, patch=2, cells=1)[0].reshape(4, 4, 9)[:, 1:3]
        np.testing.assert_array_equal(inner, np.broadcast_to(np.arange(9) == 4, inner.shape))
    assert float(jnp.abs(losses.hog(jnp.full((1, 8, 8, 1), 0.7), patch=2)).max()) == 0
    assert float(jnp.abs(jax.grad(lambda x: losses.hog(x, patch=2).sum())(ramp)).max()) == 0


def code_inputs():
    """Tokens of 2 x 3 places and 2 layers of 4 features, codebooks of 5 codes, and which places count."""
    rng = np.random.RandomState(7)
    counted = np.array([[1, 1, 0], [1, 0, 1]], bool)
    return rng.randn(2, 3, 2, 4), rng.randn(2, 5, 4), 0.5 + rng.rand(2, 5), counted


@pytest.mark.parametrize('rate', [0.9, 0.0])
def test_codes_are_found_and_moved_as_by_k_means_with_forgetting(rate, x64):
    """Token by token in NumPy; with a rate of 0 used codes become the means of their tokens."""
    tokens, sums, counts, counted = code_inputs()
    codes = losses.nearest_codes(tokens, sums, counts)
    moved = losses.moved_codes(sums, counts, tokens, codes, counted, rate=rate)
    for layer in range(2):
        book = sums[layer] / counts[layer][:, None]
        members = [[] for _ in book]
        for image, place in np.ndindex(2, 3):
            token = tokens[image, place, layer]
            nearest = int(np.argmin(((token - book) ** 2).sum(axis=1)))
            assert codes[image, place, layer] == nearest
            if counted[image, place]:
                members[nearest].append(token)
        assert 1 < sum(map(bool, members)) < 5
        for code, own in enumerate(members):
            if own:
                np.testing.assert_allclose(
                    moved[0][layer, code], rate * sums[layer, code] + (1 - rate) * np.sum(own, axis=0), rtol=FLOAT64
                )
                np.testing.assert_allclose(moved[1][layer, code], rate * counts[layer, code] + (1 - rate) * len(own))
                if rate == 0:
                    np.testing.assert_allclose(moved[0][layer, code] / moved[1][layer, code], np.mean(own, axis=0))
            else:
                np.testing.assert_array_equal(moved[0][layer, code], sums[layer, code])
                assert moved[1][layer, code] == counts[layer, code]


def test_dinosr_is_the_mean_cross_entropy_of_counted_places(x64):
    predictions, codes = noise(0, (2, 3, 2, 5)), np.random.RandomState(1).randint(0, 5, (2, 3, 2))
    counted = np.array([[1, 1, 0], [1, 0, 1]], bool)
    logs = predictions - np.log(np.exp(predictions).sum(-1, keepdims=True))
    expected = -np.mean(
        [[logs[i, p, k, codes[i, p, k]] for k in range(2)] for i, p in zip(*np.nonzero(counted), strict=True)]
    )
    np.testing.assert_allclose(losses.dinosr(predictions, codes, counted), expected, rtol=FLOAT64)
    np.testing.assert_allclose(losses.dinosr(0 * predictions, codes, counted), np.log(5), rtol=FLOAT64)
    assert losses.dinosr(predictions, codes, np.zeros_like(counted)) == 0
    check_grads(lambda p: losses.dinosr(p, codes, counted), (predictions,), order=1, modes=['rev'], rtol=GRADIENT)
