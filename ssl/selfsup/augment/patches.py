"""Operations on rectangles of one image: erasing, cutout, shuffled patches and jigsaw tiles."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from ._common import Image, Report, Result, reported, require_choice, require_probability, require_range, to_float
from .geometry import TRIES


def erase(image: Image, box: Num[Array, '4'], value: ArrayLike = 0.0) -> Result:
    """Sets the box (top, left, height, width, in pixels) to `value`, a number or an image."""
    image = to_float(image)
    rows, columns = jnp.arange(image.shape[0])[:, None], jnp.arange(image.shape[1])[None]
    inside = (rows >= box[0]) & (rows < box[0] + box[2]) & (columns >= box[1]) & (columns < box[1] + box[3])
    return jnp.where(inside[..., None], jnp.asarray(value, image.dtype), image)


def random_erasing(
    key: PRNGKeyArray,
    image: Image,
    *,
    p: float = 0.5,
    scale: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    value: float | str = 0.0,
    report: bool = False,
) -> Result | Report:
    """With probability `p`, erases a random box, drawn as torchvision's `RandomErasing` does.

    Ten tries: area uniform in `scale` of the image, log of height over width uniform in `ratio`, sides
    rounded, accepted if smaller than the image; else nothing is erased.

    Args:
      key, image: the draw's key, and an image.
      p: probability that anything is done.
      scale, ratio: ranges of the area's share and of height over width.
      value: what is written, or 'noise' for standard normal values at each pixel.
      report: also give `apply` and `box`.
    """
    require_probability(p)
    require_range('scale', scale, 0.0, 1.0)
    require_range('ratio', ratio, 1e-3)
    if isinstance(value, str):
        require_choice('value', value, ('noise',))
    image = to_float(image)
    height, width, _ = image.shape
    apply_key, area_key, ratio_key, place_key, noise_key = jax.random.split(key, 5)
    area = height * width * jax.random.uniform(area_key, (TRIES,), minval=scale[0], maxval=scale[1])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = jnp.exp(jax.random.uniform(ratio_key, (TRIES,), minval=low, maxval=high))
    h, w = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
    fits = (h < height) & (w < width)
    h, w = h[jnp.argmax(fits)], w[jnp.argmax(fits)]
    place = jax.random.uniform(place_key, (2,))
    top = jnp.minimum(jnp.floor(place[0] * (height - h + 1)), height - h)
    left = jnp.minimum(jnp.floor(place[1] * (width - w + 1)), width - w)
    apply = jax.random.bernoulli(apply_key, p) & jnp.any(fits)
    box = jnp.stack([top, left, h, w])
    written = jax.random.normal(noise_key, image.shape, image.dtype) if isinstance(value, str) else value
    return reported(jnp.where(apply, erase(image, box, written), image), {'apply': apply, 'box': box}, report)


def random_cutout(
    key: PRNGKeyArray, image: Image, *, side: int, p: float = 1.0, value: float = 0.0, report: bool = False
) -> Result | Report:
    """With probability `p`, erases a square of `side` pixels centred on a random pixel, cut off at the border.

    Reports `apply` and `box`. DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552.
    """
    require_probability(p)
    image = to_float(image)
    if not 1 <= side <= 2 * max(image.shape[:2]):
        raise ValueError(f'side must lie in 1 ... twice the side of the image {list(image.shape)}, not {side}')
    apply_key, place_key = jax.random.split(key)
    centre = jnp.floor(jax.random.uniform(place_key, (2,)) * jnp.array(image.shape[:2]))
    box = jnp.concatenate([centre - side // 2, jnp.full((2,), float(side))])
    apply = jax.random.bernoulli(apply_key, p)
    return reported(jnp.where(apply, erase(image, box, value), image), {'apply': apply, 'box': box}, report)


def cells_of(image: Array, grid: int) -> Array:
    """The cells of a `grid` x `grid` division of an image, row by row: `[cells, height, width, channels]`."""
    height, width, channels = image.shape
    if grid < 1 or height % grid or width % grid:
        raise ValueError(f'grid={grid} does not divide the image {list(image.shape)}')
    cells = image.reshape(grid, height // grid, grid, width // grid, channels)
    return jnp.swapaxes(cells, 1, 2).reshape(grid * grid, height // grid, width // grid, channels)


def shuffle_patches(image: Image, permutation: Array, *, grid: int) -> Result:
    """Puts cell `permutation[i]` of a `grid` x `grid` division at place i, both row by row."""
    image = to_float(image)
    cells = cells_of(image, grid)[permutation]
    cells = cells.reshape(grid, grid, *cells.shape[1:])
    return jnp.swapaxes(cells, 1, 2).reshape(image.shape)


def random_patch_shuffle(
    key: PRNGKeyArray, image: Image, *, grid: int = 2, p: float = 1.0, report: bool = False
) -> Result | Report:
    """:func:`shuffle_patches` in a random order with probability `p`. Reports `permutation`."""
    require_probability(p)
    image = to_float(image)
    apply_key, order_key = jax.random.split(key)
    order = jax.random.permutation(order_key, grid * grid)
    order = jnp.where(jax.random.bernoulli(apply_key, p), order, jnp.arange(grid * grid))
    return reported(shuffle_patches(image, order, grid=grid), {'permutation': order}, report)


def jigsaw_tiles(
    key: PRNGKeyArray, image: Image, *, grid: int = 3, tile: int = 0, report: bool = False
) -> Float[Array, 'tiles side side channels'] | Report:
    """The cells of an image in random order, each cut to `tile` pixels at a random place inside its cell.

    Args:
      key, image: the draw's key, and an image whose sides `grid` divides.
      grid: cells along a side.
      tile: side of a tile; 0 takes the whole cell, which must then be square.
      report: also give `permutation`: tile i shows cell `permutation[i]`, counted row by row.

    References:
      Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246: 3 x 3 cells of 75 pixels, tiles of 64.
    """
    cells = cells_of(to_float(image), grid)
    order_key, place_key = jax.random.split(key)
    order = jax.random.permutation(order_key, grid * grid)
    return reported(random_tiles(place_key, cells[order], tile), {'permutation': order}, report)


def random_tiles(key: PRNGKeyArray, cells: Array, tile: int = 0) -> Float[Array, 'tiles side side channels']:
    """A square of `tile` pixels at a random place of each cell `[cells, height, width, channels]`; 0 takes the cell."""
    side = tile or cells.shape[1]
    if side > min(cells.shape[1:3]):
        raise ValueError(f'tile={side} is larger than the cells {list(cells.shape[1:3])} of the image')
    room = jnp.array([cells.shape[1] - side + 1, cells.shape[2] - side + 1])
    offsets = jnp.floor(jax.random.uniform(key, (len(cells), 2)) * room[None]).astype(jnp.int32)

    def cut(cell: Array, offset: Array) -> Array:
        return jax.lax.dynamic_slice(cell, (offset[0], offset[1], jnp.int32(0)), (side, side, cell.shape[-1]))

    return jax.vmap(cut)(cells, offsets)
