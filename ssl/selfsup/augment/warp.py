"""Rotations and affine maps of one image, each a pure function of (key, image)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import HIGHEST, Image, Report, Result, reported, require_choice, require_range, to_float

# Up to this side the interpolation is a dense product, above it gathers: the product costs height x width
# for each pixel, four gathers cost the same at every size.
_DENSE_SIDE = 40


def _dense(image: Array, y: Array, x: Array) -> Array:
    """Bilinear values at (y, x) by one triangle weight per source row and column; zero outside."""
    height, width, _ = image.shape
    weight_y = jnp.maximum(1.0 - jnp.abs(y[..., None] - jnp.arange(height)[None, None]), 0.0)
    weight_x = jnp.maximum(1.0 - jnp.abs(x[..., None] - jnp.arange(width)[None, None]), 0.0)
    return jnp.einsum('opy,yxc,opx->opc', weight_y, image, weight_x, precision=HIGHEST)


def _pick(image: Array, row: Array, column: Array) -> Array:
    """Pixels at whole (row, column); zero outside."""
    height, width, channels = image.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = jnp.clip(row, 0, height - 1).astype(jnp.int32) * width + jnp.clip(column, 0, width - 1).astype(jnp.int32)
    return jnp.where(inside[..., None], image.reshape(-1, channels)[at], 0.0)


def _gathered(image: Array, y: Array, x: Array) -> Array:
    """Bilinear values at (y, x) by four gathers; zero outside."""
    row, column = jnp.floor(y), jnp.floor(x)
    down, right = (y - row)[..., None], (x - column)[..., None]
    upper = (1 - right) * _pick(image, row, column) + right * _pick(image, row, column + 1)
    lower = (1 - right) * _pick(image, row + 1, column) + right * _pick(image, row + 1, column + 1)
    return (1 - down) * upper + down * lower


def affine(
    image: Image,
    matrix: Float[Array, '2 2'],
    translation: Float[Array, '2'],
    *,
    fill: float = 0.0,
    method: str = 'bilinear',
) -> Result:
    """Resamples the image: output pixel p, from the centre, is read at `matrix`·p + `translation`.

    Args:
      image: `[height, width, channels]`.
      matrix, translation: the map from output to input, in (row, column) pixels.
      fill: value of what lies outside the image; between it and the edge is interpolated (torchvision, given a
        fill on a tensor, weights that border twice).
      method: 'bilinear' or 'nearest'.
    """
    require_choice('method', method, ('bilinear', 'nearest'))
    image = to_float(image)
    height, width, _ = image.shape
    matrix, translation = matrix.astype(image.dtype), translation.astype(image.dtype)
    rows = jnp.arange(height, dtype=image.dtype) - (height - 1) / 2
    columns = jnp.arange(width, dtype=image.dtype) - (width - 1) / 2
    y = matrix[0, 0] * rows[:, None] + matrix[0, 1] * columns[None, :] + translation[0] + (height - 1) / 2
    x = matrix[1, 0] * rows[:, None] + matrix[1, 1] * columns[None, :] + translation[1] + (width - 1) / 2
    shifted = image - fill
    if method == 'nearest':
        return _pick(shifted, jnp.round(y), jnp.round(x)) + fill
    return (_dense if max(height, width) <= _DENSE_SIDE else _gathered)(shifted, y, x) + fill


def affine_map(
    angle: ArrayLike,
    translate: tuple[ArrayLike, ArrayLike],
    scale: ArrayLike,
    shear: tuple[ArrayLike, ArrayLike],
    centre: tuple[ArrayLike, ArrayLike] = (0.0, 0.0),
) -> tuple[Float[Array, '2 2'], Float[Array, '2']]:
    """The arguments of :func:`affine` for torchvision's parameters.

    Args:
      angle: rotation in degrees, clockwise.
      translate: shift in pixels, (right, down).
      scale: zoom.
      shear: degrees along x and y.
      centre: the point that stays, in pixels (right, down) of the image's centre.

    Returns:
      (matrix, translation), from output to input, in (row, column).
    """
    rotation, sx, sy = (jnp.deg2rad(jnp.asarray(v, jnp.float32)) for v in (angle, *shear))
    # torchvision composes rotation, shear along y, shear along x and zoom; this is the inverse.
    a = jnp.cos(rotation - sy) / jnp.cos(sy)
    b = -jnp.cos(rotation - sy) * jnp.tan(sx) / jnp.cos(sy) - jnp.sin(rotation)
    c = jnp.sin(rotation - sy) / jnp.cos(sy)
    d = -jnp.sin(rotation - sy) * jnp.tan(sx) / jnp.cos(sy) + jnp.cos(rotation)
    matrix = jnp.array([[a, -c], [-b, d]]) / scale
    fixed = jnp.array([centre[1], centre[0]], jnp.float32)
    return matrix, fixed - matrix @ (fixed + jnp.array([translate[1], translate[0]], jnp.float32))


def rotate(image: Image, angle: ArrayLike, *, fill: float = 0.0, method: str = 'bilinear') -> Result:
    """Turns an image about its centre by `angle` degrees, anticlockwise as torchvision's `rotate`; the size stays."""
    matrix, translation = affine_map(-jnp.asarray(angle, jnp.float32), (0.0, 0.0), 1.0, (0.0, 0.0))
    return affine(image, matrix, translation, fill=fill, method=method)


def random_rotation(
    key: PRNGKeyArray, image: Image, *, degrees: float = 10.0, fill: float = 0.0, report: bool = False
) -> Result | Report:
    """Turns an image by an angle uniform in ±degrees. Reports `angle`."""
    require_range('degrees', degrees, 0.0, 180.0)
    angle = jax.random.uniform(key, minval=-degrees, maxval=degrees)
    return reported(rotate(image, angle, fill=fill), {'angle': angle}, report)


def random_affine(
    key: PRNGKeyArray,
    image: Image,
    *,
    degrees: float = 10.0,
    translate: float = 0.1,
    scale: tuple[float, float] = (0.9, 1.1),
    shear: float = 0.0,
    fill: float = 0.0,
    report: bool = False,
) -> Result | Report:
    """A random rotation, zoom, shear and shift.

    Args:
      key, image: the draw's key, and an image.
      degrees: rotation uniform in ±degrees.
      translate: shift uniform in ± this share of each side.
      scale: zoom, log-uniform between the two.
      shear: shear uniform in ± this many degrees.
      fill: value outside the image.
      report: also give `matrix` and `translation`, the arguments of :func:`affine`.
    """
    for name, value, high in (('degrees', degrees, 180.0), ('translate', translate, 1.0), ('shear', shear, 89.0)):
        require_range(name, value, 0.0, high)
    require_range('scale', scale, 1e-3)
    image = to_float(image)
    height, width, _ = image.shape
    angle_key, zoom_key, shear_key, shift_key = jax.random.split(key, 4)
    angle = jnp.deg2rad(jax.random.uniform(angle_key, minval=-degrees, maxval=degrees))
    zoom = jnp.exp(jax.random.uniform(zoom_key, minval=math.log(scale[0]), maxval=math.log(scale[1])))
    slant = jnp.tan(jnp.deg2rad(jax.random.uniform(shear_key, minval=-shear, maxval=shear)))
    shift = jax.random.uniform(shift_key, (2,), minval=-translate, maxval=translate)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1.0, 0.0], [slant, 1.0]]) / zoom
    translation = shift * jnp.array([height, width])
    drawn = {'matrix': matrix.astype(image.dtype), 'translation': translation.astype(image.dtype)}
    return reported(affine(image, **drawn, fill=fill), drawn, report)
