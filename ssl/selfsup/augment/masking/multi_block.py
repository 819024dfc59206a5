"""Blocks to predict and a context that shares no patch with them (I-JEPA, V-JEPA)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from .places import Range, drawn_place, rectangle, side, uniform

CANDIDATES = 8  # sets of target blocks that are drawn for an image, of which the first that leaves enough is taken


class MultiBlock(NamedTuple):
    """Numbers of patches, and which of them are real.

    Attributes:
      context: `[batch, context]`, in random order. An image with fewer allowed patches repeats some of them.
      context_valid: `[batch, context]`, False for repetitions.
      targets: `[batch, blocks, size]`, the patches of each block row by row; a smaller block repeats its own.
      targets_valid: `[batch, blocks, size]`, False for repetitions, by which a loss weights.
    """

    context: Int[Array, 'batch context']
    context_valid: Bool[Array, 'batch context']
    targets: Int[Array, 'batch blocks size']
    targets_valid: Bool[Array, 'batch blocks size']


def largest_block(grid: tuple[int, int], scale: Range, aspect: Range) -> int:
    """The most patches that a block of a drawn area and aspect ratio can have, cut to the grid."""
    rows, columns = grid
    most = 0
    for area in range(int(scale[0] * rows * columns), int(scale[1] * rows * columns) + 1):
        shortest, longest = (math.floor(math.sqrt(area * a) + 0.5) for a in aspect)
        for height in range(shortest, longest + 1):
            lowest = max(aspect[0], (height - 0.5) ** 2 / area)  # of the ratios that round to this height
            width = math.floor(math.sqrt(area / lowest) + 0.5 + 1e-9)
            most = max(most, min(height, rows) * min(width, columns))
    return most


def _check(grid: tuple[int, int], blocks: int, context: int, least: int, ranges: dict) -> None:
    patches = grid[0] * grid[1]
    for name, (low, high) in ranges.items():
        if not 0 < low <= high or (name != 'aspect' and high > 1):
            raise ValueError(f'{name} must be two positive numbers in order, shares up to 1, not {(low, high)}')
    if blocks < 1:
        raise ValueError(f'blocks must be at least 1, not {blocks}')
    if int(ranges['scale'][0] * patches) < 1:
        raise ValueError(
            f'a grid of {grid[0]}x{grid[1]} patches is too small for blocks of a share of {ranges["scale"][0]}'
        )
    free = patches - largest_block(grid, ranges['scale'], ranges['aspect'])
    if not 1 <= least <= free or not 1 <= context <= patches:
        raise ValueError(
            f'on a grid of {grid[0]}x{grid[1]} patches the largest block leaves {free}: least must be from 1 to that, '
            f'not {least}, and context from 1 to {patches}, not {context}'
        )


def multi_block(
    keys: Key[Array, ' batch'],
    grid: tuple[int, int],
    context: int,
    *,
    blocks: int = 4,
    scale: Range = (0.15, 0.2),
    aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
    least: int = 10,
) -> MultiBlock:
    """Several target blocks of one size, and a context block less all of them.

    A block has about int(patches · s) patches, s uniform on `scale`, and height / width uniform on `aspect`, drawn
    apart as in V-JEPA; all blocks of an image have one size and each a place of its own, which may overlap. The context
    is drawn at random from the patches of a square of a share of `context_scale` that no target has.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      context: how many context patches to give; see `MultiBlock` where fewer are allowed. I-JEPA's batches have some
        55 of 14 x 14. On 8 x 8 at least 16 are allowed whatever is drawn.
      blocks, scale, aspect: of the targets. I-JEPA: 4, (0.15, 0.2), (0.75, 1.5). V-JEPA: 8 of (0.15, 0.15) or 2 of
        (0.7, 0.7), aspect (0.75, 1.5).
      context_scale: I-JEPA: (0.85, 1). V-JEPA: (1, 1).
      least: of eight drawn sets of blocks the first is taken that leaves so many context patches, or else the one that
        leaves most. I-JEPA: 10.

    Raises:
      ValueError: ranges out of order, or a grid that is too small for the blocks.

    Convention: differs from I-JEPA's code, where scale and aspect share one random number, the size is one for the
    batch, the last row and column are never used, lists are cut in raster order to the batch's shortest (so that shapes
    change from step to step) and the sampler retries without end where no mask leaves `least` patches.

    References:
      Assran et al. 2023, https://arxiv.org/abs/2301.08243, sect. 3; Bardes et al. 2024,
      https://arxiv.org/abs/2404.08471, sect. 3.1.
    """
    _check(grid, blocks, context, least, {'scale': scale, 'aspect': aspect, 'context_scale': context_scale})
    rows, columns = grid
    patches, size = rows * columns, largest_block(grid, scale, aspect)

    def area_of(share: Array, scale: Range) -> Array:
        # 1e-4: a share of exactly 0.75 of 64 patches must not fall to 47 by rounding.
        return jnp.floor(patches * (scale[0] + share * (scale[1] - scale[0])) + 1e-4)

    def targets(share: Array, corners: Array) -> Array:
        area, ratio = area_of(share[0], scale), aspect[0] + share[1] * (aspect[1] - aspect[0])
        height, width = jnp.minimum(side(area, ratio), rows), jnp.minimum(side(area, 1 / ratio), columns)
        tops, lefts = drawn_place(corners[..., 0], rows, height), drawn_place(corners[..., 1], columns, width)
        cover = jax.vmap(jax.vmap(lambda top, left: rectangle(top, left, height, width, grid)))
        return cover(tops, lefts)

    def draw(key: Array) -> MultiBlock:
        sizes, corners, square, noise = jax.random.split(key, 4)
        candidates = targets(uniform(sizes, (2,)), uniform(corners, (CANDIDATES, blocks, 2)))
        where = uniform(square, (3,))
        length = side(area_of(where[0], context_scale), jnp.ones(()))
        height, width = jnp.minimum(length, rows), jnp.minimum(length, columns)
        top, left = drawn_place(where[1], rows, height), drawn_place(where[2], columns, width)
        allowed = rectangle(top, left, height, width, grid)[None] & ~jnp.any(candidates, axis=1)
        best = jnp.argmax(jnp.minimum(jnp.sum(allowed, axis=1), least))
        chosen, free = candidates[best], allowed[best]
        # Should all eight leave nothing, the first block alone is kept out of the context.
        free = jnp.where(jnp.any(free), free, ~chosen[0])
        order = jnp.argsort(jnp.where(free, uniform(noise, (patches,)), 2.0))
        numbers, valid = _repeated(order, jnp.sum(free), context)
        ranks = jnp.argsort(~chosen, axis=1, stable=True)
        return MultiBlock(numbers, valid, *jax.vmap(lambda o, n: _repeated(o, n, size))(ranks, jnp.sum(chosen, axis=1)))

    return jax.vmap(draw)(keys)


def _repeated(order: Array, available: Array, count: int) -> tuple[Array, Array]:
    """The first `available` entries, over and over until there are `count`, and which are no repetitions."""
    place = jnp.arange(count)
    return order[place % available], place < available
