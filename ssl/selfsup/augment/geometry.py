"""Crops, resizing and flips, each a pure function of (key, image).

Crop, resize and flip are one matrix product per axis: the antialiased interpolation weights of an axis
form a small dense matrix, a flip reverses its rows, and the whole batch becomes two batched products,
which is what accelerators do best (a gather per pixel is what they do worst).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import (
    HIGHEST,
    Image,
    Report,
    Result,
    reported,
    require_choice,
    require_probability,
    require_range,
    to_float,
)

# Support radius of each interpolation kernel in input pixels, before antialiasing widens it.
_SUPPORT = {'bilinear': 1.0, 'bicubic': 2.0}
TRIES = 10


def _kernel(x: Array, method: str) -> Array:
    """Interpolation kernel at distance `x`; the cubic has a = −0.5, as Pillow and torchvision's antialiased one."""
    x = jnp.abs(x)
    if method == 'bilinear':
        return jnp.maximum(1.0 - x, 0.0)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, inner, jnp.where(x < 2.0, outer, 0.0))


def resize_matrix(
    start: ArrayLike, length: ArrayLike, source: int, size: int, *, method: str = 'bilinear'
) -> Float[Array, 'size source']:
    """Weights that resample pixels [start, start + length) of an axis of `source` pixels to `size` pixels.

    Antialiased as Pillow's `resize`: when shrinking, the kernel widens with the scale. Pixels outside
    the interval have weight zero, as after a crop, and each row sums to 1.
    """
    require_choice('method', method, tuple(_SUPPORT))
    scale = length / size
    centre = start + (jnp.arange(size) + 0.5) * scale
    pixel = jnp.arange(source) + 0.5
    weights = _kernel((pixel[None, :] - centre[:, None]) / jnp.maximum(scale, 1.0), method)
    inside = (pixel > start) & (pixel < start + length)
    weights = jnp.where(inside[None, :], weights, 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def resample(
    image: Float[Array, 'height width channels'],
    rows: Float[Array, 'new_height height'],
    columns: Float[Array, 'new_width width'],
    *,
    clip: bool = False,
) -> Float[Array, 'new_height new_width channels']:
    """Applies one matrix to each axis of an image; `clip` keeps it in [0, 1] after each, as 8 bits would.

    As rows of planes, `[height, channel, width]`, both products are plain ones without a transposition
    between them: width is last for the first, height is first for the second.
    """
    rows, columns = rows.astype(image.dtype), columns.astype(image.dtype)
    planes = jnp.swapaxes(image, 1, 2)
    planes = jnp.einsum('hcw,pw->hcp', planes, columns, precision=HIGHEST)
    planes = jnp.clip(planes, 0.0, 1.0) if clip else planes
    planes = jnp.einsum('oh,hcp->ocp', rows, planes, precision=HIGHEST)
    planes = jnp.clip(planes, 0.0, 1.0) if clip else planes
    return jnp.swapaxes(planes, 1, 2)


def crop_and_resize(
    image: Image,
    box: Float[Array, '4'],
    size: int,
    *,
    flip: Array | bool = False,
    method: str = 'bilinear',
) -> Float[Array, 'size size channels']:
    """The box (top, left, height, width, in pixels) of an image, resized to `size` × `size`, maybe mirrored.

    Equals Pillow's `crop` and `resize` but for its rounding to 8 bits after each axis. Values are
    clipped to [0, 1] after each axis as there, because the bicubic kernel overshoots; so the order of the
    axes shows. Here the horizontal one is first, as in Pillow before version 13, which begins with the
    vertical one in some shapes, such as tall images that shrink: bicubic then differs by up to 30/255 on
    hard edges (black and white noise), bilinear by 1/255.
    """
    image = to_float(image)
    if not isinstance(box, jax.core.Tracer):
        top, left, height, width = (float(side) for side in box)
        if min(top, left) < 0 or min(height, width) <= 0:
            raise ValueError(f'box {[top, left, height, width]} must not start before 0 or be empty')
        if top + height > image.shape[0] or left + width > image.shape[1]:
            raise ValueError(f'box {[top, left, height, width]} is larger than the image {list(image.shape)}')
    box = jnp.asarray(box).astype(image.dtype)
    rows = resize_matrix(box[0], box[2], image.shape[0], size, method=method)
    columns = resize_matrix(box[1], box[3], image.shape[1], size, method=method)
    columns = jnp.where(flip, columns[::-1], columns)
    return resample(image, rows, columns, clip=True)


def sample_crop(
    key: PRNGKeyArray,
    height: int,
    width: int,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Float[Array, '4']:
    """A random box as torchvision's `RandomResizedCrop.get_params` draws it.

    Ten tries: area uniform in `scale` of the image, log aspect ratio uniform in `ratio`, sides rounded,
    accepted if it fits; else the largest centred box whose ratio is allowed.
    `selfsup.data.draws` draws the same boxes without jax, for workers that decode.

    Returns:
      (top, left, height, width) in whole pixels.
    """
    require_range('scale', scale, 0.0, 1.0)
    require_range('ratio', ratio, 0.0)
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    area = height * width * jax.random.uniform(area_key, (TRIES,), minval=scale[0], maxval=scale[1])
    log_ratio = jax.random.uniform(ratio_key, (TRIES,), minval=math.log(ratio[0]), maxval=math.log(ratio[1]))
    aspect = jnp.exp(log_ratio)
    w, h = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = jnp.argmax(fits)
    fallback_w, fallback_h = float(width), float(height)
    if width / height < ratio[0]:
        fallback_h = float(round(width / ratio[0]))
    elif width / height > ratio[1]:
        fallback_w = float(round(height * ratio[1]))
    found = jnp.any(fits)
    w, h = jnp.where(found, w[first], fallback_w), jnp.where(found, h[first], fallback_h)
    # Whole offsets, uniform on 0 … height − h; minimum guards uniform's rounding up to 1.
    top = jnp.minimum(jnp.floor(jax.random.uniform(top_key) * (height - h + 1)), height - h)
    left = jnp.minimum(jnp.floor(jax.random.uniform(left_key) * (width - w + 1)), width - w)
    top = jnp.where(found, top, jnp.floor((height - h) / 2))
    left = jnp.where(found, left, jnp.floor((width - w) / 2))
    return jnp.stack([top, left, h, w])


def random_resized_crop(
    key: PRNGKeyArray,
    image: Image,
    *,
    size: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    method: str = 'bilinear',
    report: bool = False,
) -> Float[Array, 'size size channels'] | Report:
    """A random box of the image resized to `size`; see :func:`sample_crop`. Reports `box`."""
    image = to_float(image)
    box = sample_crop(key, image.shape[0], image.shape[1], scale=scale, ratio=ratio).astype(image.dtype)
    return reported(crop_and_resize(image, box, size, method=method), {'box': box}, report)


def random_flip(
    key: PRNGKeyArray, image: Image, *, p: float = 0.5, vertical: bool = False, report: bool = False
) -> Result | Report:
    """Mirrors left and right (or, `vertical`, top and bottom) with probability `p`. Reports `flip`."""
    require_probability(p)
    image = to_float(image)
    flip = jax.random.bernoulli(key, p)
    return reported(jnp.where(flip, image[::-1] if vertical else image[:, ::-1], image), {'flip': flip}, report)
