"""Colour: jitter and grey scale, on one RGB image with values in [0, 1].

All arithmetic is on rows of planes, `[height, channel, width]`: the innermost axis is long, so that
loops over pixels are vectors, and it is the layout that crop and blur work in, so that the compiler
drops the transpositions between them.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import Colour, Report, Result, reported, require_colour, require_probability, require_range, to_float

# ITU-R 601 luma with torchvision's digits; Pillow's are 0.299, 0.587, 0.114.
LUMA = (0.2989, 0.587, 0.114)
_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def _luma(rows: Array) -> Array:
    return LUMA[0] * rows[:, 0] + LUMA[1] * rows[:, 1] + LUMA[2] * rows[:, 2]


def _mean_luma(rows: Array) -> Array:
    # Channels are summed before they are weighted: one reduction of the image, and nothing stored.
    sums = jnp.sum(rows, axis=(0, 2)) / (rows.shape[0] * rows.shape[2])
    return LUMA[0] * sums[0] + LUMA[1] * sums[1] + LUMA[2] * sums[2]


def grey_scale(image: Colour) -> Float[Array, 'height width 3']:
    """The luma of each pixel in all three channels."""
    require_colour(image)
    luma = _luma(jnp.swapaxes(to_float(image), 1, 2))
    return jnp.broadcast_to(luma[..., None], image.shape)


def random_grey(key: PRNGKeyArray, image: Colour, *, p: float = 0.2, report: bool = False) -> Result | Report:
    """Grey scale with probability `p`. Reports `apply`."""
    require_probability(p)
    require_colour(image)
    rows = jnp.swapaxes(to_float(image), 1, 2)
    apply = jax.random.bernoulli(key, p)
    rows = jnp.where(apply, _luma(rows)[:, None], rows)
    return reported(jnp.swapaxes(rows, 1, 2), {'apply': apply}, report)


def _shift_hue(rows: Array, shift: ArrayLike) -> Array:
    """Turns the hue of rows of planes by `shift` of a full circle, in HSV.

    HSV's way back, a choice among six cases, is one formula for every channel: value minus chroma
    times a trapezoid of the hue's distance on the circle from where the channel is absent
    (https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative). Nothing branches or gathers.
    """
    red, green, blue = rows[:, 0], rows[:, 1], rows[:, 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    inverse = 1.0 / jnp.where(chroma > 0, chroma, 1.0)
    sixth = jnp.where(
        value == red,
        (green - blue) * inverse,
        jnp.where(value == green, 2.0 + (blue - red) * inverse, 4.0 + (red - green) * inverse),
    )
    sixth = sixth + 6.0 * shift
    # Red is absent at hue 3 (cyan), green at 5, blue at 1; k is the hue less that, in −3 … 3.
    k = sixth[:, None, :] - jnp.array([3.0, 5.0, 1.0], rows.dtype)[None, :, None]
    k = jnp.abs(k - 6.0 * jnp.round(k * (1.0 / 6.0)))
    return value[:, None] - chroma[:, None] * jnp.clip(2.0 - k, 0.0, 1.0)


def shift_hue(image: Colour, shift: ArrayLike) -> Float[Array, 'height width 3']:
    """Turns the hue in HSV by `shift` of a full circle, in [−0.5, 0.5] (torchvision's `adjust_hue` on floats)."""
    require_colour(image)
    require_range('shift', shift, -0.5, 0.5)
    image = to_float(image)
    return jnp.swapaxes(_shift_hue(jnp.swapaxes(image, 1, 2), jnp.asarray(shift, image.dtype)), 1, 2)


def _blend(rows: Array, operation: Array, factor: Array) -> Array:
    """Brightness, contrast or saturation: all three mix the image with something greyer or darker."""
    rest = 1.0 - factor
    grey = jnp.where(operation == SATURATION, rest, 0.0)
    flat = jnp.where(operation == CONTRAST, rest * _mean_luma(rows), 0.0)
    return jnp.clip(factor * rows + (grey * _luma(rows) + flat)[:, None], 0.0, 1.0)


def jitter(image: Colour, factors: Float[Array, '4'], order: Array) -> Float[Array, 'height width 3']:
    """Brightness, contrast, saturation (factors, 1 keeps) and hue (shift in circles) in the given order.

    Each example has its own order, and under `vmap` a branch costs all its arms. Three of the four
    operations are the same blend with another partner, and hue, the dear one, is computed once: the
    blends that come before it in an example's order run before it, the others after. The blends are a
    `scan` because its carry is stored: without it the compiler fuses the chain into one loop that
    computes every earlier blend again for each of three channels, four times slower on a CPU.

    Args:
      image: values in [0, 1], or uint8.
      factors: brightness, contrast, saturation (at least 0), hue shift in [−0.5, 0.5].
      order: permutation of 0 … 3, the operations by number in that order.

    References:
      torchvision's `ColorJitter` on float tensors.
    """
    require_colour(image)
    rows = jnp.swapaxes(to_float(image), 1, 2)
    factors = factors.astype(rows.dtype)
    place = jnp.argmax(order == HUE)
    slots = jnp.arange(3)
    blends = order[slots + (slots >= place)]
    strength = factors[blends]

    def blend_all(rows: Array, strength: Array) -> Array:
        return jax.lax.scan(lambda x, slot: (_blend(x, *slot), None), rows, (blends, strength))[0]

    rows = blend_all(rows, jnp.where(slots < place, strength, 1.0))
    rows = _shift_hue(rows, factors[HUE])
    rows = blend_all(rows, jnp.where(slots >= place, strength, 1.0))
    return jnp.swapaxes(rows, 1, 2)


def sample_jitter(
    key: PRNGKeyArray, *, brightness: float, contrast: float, saturation: float, hue: float, p: float
) -> dict[str, Array]:
    """The draws of :func:`color_jitter`: `apply`, `factors` (those that change nothing if not applied), `order`."""
    factor_key, order_key, apply_key = jax.random.split(key, 3)
    low = jnp.array([max(0.0, 1 - brightness), max(0.0, 1 - contrast), max(0.0, 1 - saturation), -hue])
    high = jnp.array([1 + brightness, 1 + contrast, 1 + saturation, hue])
    factors = low + (high - low) * jax.random.uniform(factor_key, (4,))
    apply = jax.random.bernoulli(apply_key, p)
    factors = jnp.where(apply, factors, jnp.array([1.0, 1.0, 1.0, 0.0]))
    order = jnp.asarray(_ORDERS)[jax.random.randint(order_key, (), 0, len(_ORDERS))]
    return {'apply': apply, 'factors': factors, 'order': order}


def color_jitter(
    key: PRNGKeyArray,
    image: Colour,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    p: float = 0.8,
    report: bool = False,
) -> Result | Report:
    """With probability `p`, all four colour changes in a random order, as torchvision's `ColorJitter`.

    Args:
      key, image: the draw's key, and an RGB image.
      brightness, contrast, saturation: factors uniform in [max(0, 1 − s), 1 + s].
      hue: shift uniform in ±hue of a full circle, at most 0.5.
      p: probability that anything is done.
      report: also give `apply`, `factors` and `order`.
    """
    require_colour(image)
    require_probability(p)
    require_range('hue', hue, 0.0, 0.5)
    for name, value in (('brightness', brightness), ('contrast', contrast), ('saturation', saturation)):
        require_range(name, value, 0.0)
    image = to_float(image)
    drawn = sample_jitter(key, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, p=p)
    drawn['factors'] = drawn['factors'].astype(image.dtype)
    return reported(jitter(image, drawn['factors'], drawn['order']), drawn, report)
