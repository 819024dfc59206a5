"""Colour operations on one image with values in [0, 1], each a pure function of (key, image)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

# ITU-R 601 luma as torchvision and Pillow use it.
LUMA = (0.2989, 0.587, 0.114)
_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def _require_colour(image: Array) -> None:
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f'colour operations need an image [height, width, 3], not {list(image.shape)}')


def _luma(planes: Array) -> Array:
    return LUMA[0] * planes[0] + LUMA[1] * planes[1] + LUMA[2] * planes[2]


def grey_scale(image: Float[Array, 'height width 3']) -> Float[Array, 'height width 3']:
    """The luma of each pixel in all three channels."""
    _require_colour(image)
    luma = LUMA[0] * image[..., 0] + LUMA[1] * image[..., 1] + LUMA[2] * image[..., 2]
    return jnp.broadcast_to(luma[..., None], image.shape)


def random_grey(
    key: PRNGKeyArray, image: Float[Array, 'height width 3'], *, p: float = 0.2
) -> Float[Array, 'height width 3']:
    """Grey scale with probability `p`."""
    return jnp.where(jax.random.bernoulli(key, p), grey_scale(image), image)


def _shift_hue(planes: Array, shift: ArrayLike) -> Array:
    """Turns the hue of `[3, height, width]` planes by `shift` of a full circle, in HSV."""
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    inverse = 1.0 / jnp.where(chroma > 0, chroma, 1.0)
    sixth = jnp.where(
        value == red,
        (green - blue) * inverse,
        jnp.where(value == green, 2.0 + (blue - red) * inverse, 4.0 + (red - green) * inverse),
    )
    sixth = sixth + 6.0 * shift
    # A channel is value − chroma·clip(min(k, 4 − k), 0, 1) with k = (n + hue) mod 6 and n = 5, 3, 1.
    channels = []
    for n in (5.0, 3.0, 1.0):
        k = sixth + n
        k = k - 6.0 * jnp.floor(k * (1.0 / 6.0))
        channels.append(value - chroma * jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0))
    return jnp.stack(channels)


def _blend(planes: Array, operation: Array, factor: Array) -> Array:
    """Brightness, contrast or saturation: all three mix the image with something greyer or darker."""
    luma = _luma(planes)
    other = jnp.where(operation == SATURATION, luma, jnp.where(operation == CONTRAST, jnp.mean(luma), 0.0))
    return jnp.clip(factor * planes + (1.0 - factor) * other[None], 0.0, 1.0)


def jitter(
    image: Float[Array, 'height width 3'], factors: Float[Array, '4'], order: Array
) -> Float[Array, 'height width 3']:
    """Brightness, contrast, saturation (factors, 1 keeps) and hue (shift in circles) in the given order.

    Args:
      image: values in [0, 1].
      factors: brightness, contrast, saturation, hue shift.
      order: permutation of 0 … 3, the operations by number in that order.

    Each example has its own order, and under `vmap` a branch costs all its arms. Three of the four
    operations are the same blend with another partner, and hue, the dear one, is computed once: the
    blends that come before it in an example's order run before it, the others after.
    """
    _require_colour(image)
    planes = jnp.moveaxis(image, -1, 0)
    place = jnp.argmax(order == HUE)
    slots = jnp.arange(3)
    blends = order[slots + (slots >= place)]
    strength = factors[blends]
    for slot in range(3):
        planes = _blend(planes, blends[slot], jnp.where(slot < place, strength[slot], 1.0))
    planes = _shift_hue(planes, factors[HUE])
    for slot in range(3):
        planes = _blend(planes, blends[slot], jnp.where(slot >= place, strength[slot], 1.0))
    return jnp.moveaxis(planes, 0, -1)


def color_jitter(
    key: PRNGKeyArray,
    image: Float[Array, 'height width 3'],
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    p: float = 0.8,
) -> Float[Array, 'height width 3']:
    """With probability `p`, all four colour changes in a random order, as torchvision's `ColorJitter`.

    Args:
      brightness, contrast, saturation: factors uniform in [max(0, 1 − s), 1 + s].
      hue: shift uniform in ±hue of a full circle, at most 0.5.
      p: probability that anything is done.
    """
    factor_key, order_key, apply_key = jax.random.split(key, 3)
    low = jnp.array([max(0.0, 1 - brightness), max(0.0, 1 - contrast), max(0.0, 1 - saturation), -hue])
    high = jnp.array([1 + brightness, 1 + contrast, 1 + saturation, hue])
    factors = low + (high - low) * jax.random.uniform(factor_key, (4,))
    keep = jnp.array([1.0, 1.0, 1.0, 0.0])
    factors = jnp.where(jax.random.bernoulli(apply_key, p), factors, keep).astype(image.dtype)
    order = jnp.asarray(_ORDERS)[jax.random.randint(order_key, (), 0, len(_ORDERS))]
    return jitter(image, factors, order)


def solarise(image: Float[Array, 'height width channels'], *, threshold: float = 128 / 255) -> Array:
    """Inverts values at or above the threshold."""
    return jnp.where(image >= threshold, 1.0 - image, image)


def random_solarise(
    key: PRNGKeyArray, image: Float[Array, 'height width channels'], *, p: float = 0.2, threshold: float = 128 / 255
) -> Float[Array, 'height width channels']:
    """:func:`solarise` with probability `p`."""
    return jnp.where(jax.random.bernoulli(key, p), solarise(image, threshold=threshold), image)


def random_gamma(
    key: PRNGKeyArray, image: Float[Array, 'height width channels'], *, strength: float = 0.4
) -> Float[Array, 'height width channels']:
    """image^γ with log γ uniform in ±strength."""
    gamma = jnp.exp(jax.random.uniform(key, minval=-strength, maxval=strength))
    positive = image > 0
    return jnp.where(positive, jnp.where(positive, image, 1.0) ** gamma, 0.0)


def random_noise(
    key: PRNGKeyArray, image: Float[Array, 'height width channels'], *, deviation: float = 0.1
) -> Float[Array, 'height width channels']:
    """Adds Gaussian noise of the given standard deviation to every value; not clipped."""
    return image + deviation * jax.random.normal(key, image.shape, image.dtype)
