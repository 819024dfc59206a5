"""Crops, flips and affine maps, each a pure function of (key, image).

Crop, resize and flip are one matrix product per axis: the antialiased interpolation weights of an axis
form a small dense matrix, a flip reverses its rows, and the whole batch becomes two batched products,
which is what accelerators do best (a gather per pixel is what they do worst).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

HIGHEST = jax.lax.Precision.HIGHEST
# Support radius of each interpolation kernel in input pixels, before antialiasing widens it.
_SUPPORT = {'bilinear': 1.0, 'bicubic': 2.0}


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
    if method not in _SUPPORT:
        raise ValueError(f'method must be one of {", ".join(_SUPPORT)}, not {method!r}')
    scale = length / size
    centre = start + (jnp.arange(size) + 0.5) * scale
    pixel = jnp.arange(source) + 0.5
    weights = _kernel((pixel[None, :] - centre[:, None]) / jnp.maximum(scale, 1.0), method)
    inside = (pixel > start) & (pixel < start + length)
    weights = jnp.where(inside[None, :], weights, 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def crop_and_resize(
    image: Float[Array, 'height width channels'],
    box: Float[Array, '4'],
    size: int,
    *,
    flip: Array | bool = False,
    method: str = 'bilinear',
) -> Float[Array, 'size size channels']:
    """The box (top, left, height, width, in pixels) of an image, resized to `size` × `size`, maybe mirrored.

    Values are clipped to [0, 1], because the bicubic kernel overshoots.
    """
    box = box.astype(image.dtype)
    rows = resize_matrix(box[0], box[2], image.shape[0], size, method=method)
    columns = resize_matrix(box[1], box[3], image.shape[1], size, method=method)
    columns = jnp.where(flip, columns[::-1], columns)
    # Contract columns first: channels stay innermost and both products are plain batched matmuls.
    image = jnp.einsum('pw,hwc->hpc', columns, image, precision=HIGHEST)
    image = jnp.einsum('oh,hpc->opc', rows, image, precision=HIGHEST)
    return jnp.clip(image, 0.0, 1.0)


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

    Returns:
      (top, left, height, width) in whole pixels.
    """
    tries = 10
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    area = height * width * jax.random.uniform(area_key, (tries,), minval=scale[0], maxval=scale[1])
    log_ratio = jax.random.uniform(ratio_key, (tries,), minval=math.log(ratio[0]), maxval=math.log(ratio[1]))
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
    image: Float[Array, 'height width channels'],
    *,
    size: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    method: str = 'bilinear',
) -> Float[Array, 'size size channels']:
    """A random box of the image resized to `size`; see :func:`sample_crop` and :func:`resize_matrix`."""
    box = sample_crop(key, image.shape[0], image.shape[1], scale=scale, ratio=ratio)
    return crop_and_resize(image, box, size, method=method)


def random_flip(
    key: PRNGKeyArray, image: Float[Array, 'height width channels'], *, p: float = 0.5
) -> Float[Array, 'height width channels']:
    """Mirrors left and right with probability `p`."""
    return jnp.where(jax.random.bernoulli(key, p), image[:, ::-1], image)


def affine(
    image: Float[Array, 'height width channels'],
    matrix: Float[Array, '2 2'],
    translation: Float[Array, '2'],
    *,
    fill: float = 0.0,
) -> Float[Array, 'height width channels']:
    """Resamples the image bilinearly: output pixel p, from the centre, is read at `matrix`·p + `translation`.

    Coordinates are (row, column) in pixels; what lies outside the image is `fill`.
    """
    height, width, _ = image.shape
    rows = jnp.arange(height) - (height - 1) / 2
    columns = jnp.arange(width) - (width - 1) / 2
    y = matrix[0, 0] * rows[:, None] + matrix[0, 1] * columns[None, :] + translation[0] + (height - 1) / 2
    x = matrix[1, 0] * rows[:, None] + matrix[1, 1] * columns[None, :] + translation[1] + (width - 1) / 2
    # One triangle weight per source row and column: small images make the dense product cheaper than
    # four gathers, and fast on every device.
    weight_y = jnp.maximum(1.0 - jnp.abs(y[..., None] - jnp.arange(height)[None, None]), 0.0)
    weight_x = jnp.maximum(1.0 - jnp.abs(x[..., None] - jnp.arange(width)[None, None]), 0.0)
    shifted = image - fill
    return jnp.einsum('opy,yxc,opx->opc', weight_y, shifted, weight_x, precision=HIGHEST) + fill


def random_affine(
    key: PRNGKeyArray,
    image: Float[Array, 'height width channels'],
    *,
    degrees: float = 10.0,
    translate: float = 0.1,
    scale: tuple[float, float] = (0.9, 1.1),
    shear: float = 0.0,
    fill: float = 0.0,
) -> Float[Array, 'height width channels']:
    """A random rotation, zoom, shear and shift.

    Args:
      degrees: rotation uniform in ±degrees.
      translate: shift uniform in ± this share of each side.
      scale: zoom, log-uniform between the two.
      shear: shear uniform in ± this many degrees.
      fill: value outside the image.
    """
    height, width, _ = image.shape
    angle_key, zoom_key, shear_key, shift_key = jax.random.split(key, 4)
    angle = jnp.deg2rad(jax.random.uniform(angle_key, minval=-degrees, maxval=degrees))
    zoom = jnp.exp(jax.random.uniform(zoom_key, minval=math.log(scale[0]), maxval=math.log(scale[1])))
    slant = jnp.tan(jnp.deg2rad(jax.random.uniform(shear_key, minval=-shear, maxval=shear)))
    shift = jax.random.uniform(shift_key, (2,), minval=-translate, maxval=translate)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1.0, 0.0], [slant, 1.0]]) / zoom
    return affine(image, matrix, shift * jnp.array([height, width]), fill=fill)
