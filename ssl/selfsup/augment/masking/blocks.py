"""Masks of rectangles: hidden ones (BEiT, data2vec, iBOT, DINOv2), or visible ones (data2vec 2.0)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Int, Key

from .places import Number, Range, drawn_place, rectangle, side, uniform

FAILURES = 10  # attempts in a row that may be rejected before the authors' loop gives up


def check_blocks(grid: tuple[int, int], least: Number, aspect: Range) -> None:
    """Refuses a grid without room for the smallest block, and aspect ratios out of order."""
    if min(grid) < 2 or round(math.sqrt(least)) >= min(grid):
        raise ValueError(
            f'a grid of {grid[0]}x{grid[1]} patches is too small for blocks of at least {least:g}, '
            'which must leave a row and a column of it'
        )
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f'aspect must be two positive numbers in order, not {aspect}')


def block(
    keys: Key[Array, ' batch'],
    grid: tuple[int, int],
    count: int | Int[ArrayLike, ' batch'],
    *,
    least: Number | None = None,
    most: Number | None = None,
    aspect: Range = (0.3, 1 / 0.3),
    exact: bool = False,
    attempts: int = 60,
) -> Bool[Array, 'batch patches']:
    """Hides rectangles until `count` patches are hidden (BEiT; data2vec, iBOT, DINOv2).

    An attempt draws an area uniformly from `least` to what is left, the logarithm of height / width uniformly, and a
    place. It is accepted if it leaves a row and a column of the grid free and hides from one patch more to as many as
    are left; ten rejections in a row end the mask. The authors' loop has no bound on attempts, here they are fixed.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      count: how many patches to hide, for all or for each example; an array may be traced, and 0 hides none.
      least: area of the smallest block, in patches. None: (the shorter side // 3)², as in iBOT. BEiT and data2vec: 16
        of 14 x 14; DINOv2: 4.
      most: area of the largest block; None sets no limit but `count`. DINOv2: half of the patches.
      aspect: range of height / width.
      exact: hide single random patches, or show some, to have exactly `count`.
      attempts: rectangles that are tried. With 60, as many masks of 14 x 14 patches are short of `count` as
        the authors'.

    Returns:
      Which patches are hidden: at most `count`, or exactly so many with `exact`.

    Raises:
      ValueError: a grid that is too small for the blocks, or a count that hides nothing or everything.

    References:
      Bao et al. 2022, https://arxiv.org/abs/2106.08254, algorithm 1; Zhou et al. 2022,
      https://arxiv.org/abs/2111.07832; Oquab et al. 2024, https://arxiv.org/abs/2304.07193.
    """
    rows, columns = grid
    least = float((min(grid) // 3) ** 2 if least is None else least)
    check_blocks(grid, least, aspect)
    if isinstance(count, int) and not 1 <= count < rows * columns:
        raise ValueError(f'count must hide at least one of {rows * columns} patches and not all, not {count}')
    low, high = math.log(aspect[0]), math.log(aspect[1])
    limit = float(rows * columns if most is None else most)

    def draw(key: Array, wanted: Array) -> Array:
        first, second = jax.random.split(key)
        shares = uniform(first, (attempts, 4))

        def attempt(number: Array, state: tuple) -> tuple:
            hidden, failures = state
            left = wanted - jnp.sum(hidden)
            share = shares[number]
            area = least + share[0] * (jnp.minimum(left, limit) - least)
            ratio = jnp.exp(low + share[1] * (high - low))
            height, width = side(area, ratio), side(area, 1 / ratio)
            fits = (height < rows) & (width < columns)
            top, across = drawn_place(share[2], rows, height), drawn_place(share[3], columns, width)
            wider = hidden | rectangle(top, across, height, width, grid)
            new = jnp.sum(wider) - jnp.sum(hidden)
            good = fits & (new > 0) & (new <= jnp.minimum(left, limit)) & (failures < FAILURES)
            failures = jnp.where(good, 0, failures + 1)
            return jnp.where(good, wider, hidden), jnp.minimum(failures, FAILURES)

        # False and 0 made of what was drawn: under shard_map a loop's state must vary over the axes that its keys do.
        none = shares[0, 0] < 0
        start = (jnp.broadcast_to(none, (rows * columns,)), none.astype(int))
        hidden, _ = jax.lax.fori_loop(0, attempts, attempt, start)
        if not exact:
            return hidden
        order = jnp.argsort(-(hidden + uniform(second, (rows * columns,))))
        return jnp.argsort(order) < wanted

    return jax.vmap(draw)(keys, jnp.broadcast_to(jnp.asarray(count), keys.shape))


def torus_block(
    keys: Key[Array, ' batch'], grid: tuple[int, int], ratio: Number, *, aspect: Range = (0.5, 2.0)
) -> tuple[Int[Array, 'batch kept'], Bool[Array, 'batch patches']]:
    """Shows one rectangle of patches and hides the rest (CAPI).

    The logarithm of height / width is drawn uniformly, of those that the grid has room for; the sides are rounded up,
    and in raster order the last patches are left out to show exactly patches − int(patches · ratio). Then the grid is
    rolled by a random number of rows and columns, so that a rectangle that leaves on one side enters on the other, and
    all patches are seen equally often.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      ratio: share of hidden patches. Authors: 0.65.
      aspect: range of height / width. Authors: 0.5 to 2.

    Returns:
      The numbers of the patches that are seen, in increasing order, and which are hidden.

    Raises:
      ValueError: a ratio that hides nothing or everything, or aspect ratios out of order.

    References:
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769, and `InverseBlockMasking` of the authors' code.
    """
    rows, columns = grid
    count = rows * columns - int(rows * columns * ratio)
    if not 1 <= count < rows * columns:
        raise ValueError(f'ratio must hide some of {rows * columns} patches and not all, and {ratio} leaves {count}')
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f'aspect must be two positive numbers in order, not {aspect}')
    low = max(math.log(aspect[0]), math.log(count / columns**2))
    high = min(math.log(aspect[1]), math.log(rows**2 / (count + 1e-5)))

    def draw(key: Array) -> tuple[Array, Array]:
        shares = uniform(key, (3,))
        ratio = jnp.exp(low + shares[0] * (high - low))
        height = jnp.minimum(jnp.ceil(jnp.sqrt(count * ratio)).astype(int), rows)
        width = jnp.maximum(jnp.ceil(jnp.sqrt(count / ratio)).astype(int), -(-count // height))
        inside = rectangle(jnp.asarray(0), jnp.asarray(0), height, jnp.minimum(width, columns), grid)
        shown = (inside & (jnp.cumsum(inside) <= count)).reshape(grid)
        down, along = jnp.floor(shares[1] * rows).astype(int), jnp.floor(shares[2] * columns).astype(int)
        shown = jnp.roll(shown, (down, along), (0, 1)).reshape(-1)
        return jnp.argsort(~shown, stable=True)[:count], ~shown

    return jax.vmap(draw)(keys)


def inverse_block(
    keys: Key[Array, ' batch'], grid: tuple[int, int], ratio: Number, *, length: int = 3, adjust: Number = 0.07
) -> tuple[Int[Array, 'batch kept'], Bool[Array, 'batch patches']]:
    """Shows square blocks and hides the rest (data2vec 2.0).

    int(patches · (1 − ratio + adjust) / length²) centres are drawn with replacement; a block that passes the border is
    squeezed onto its last rows and columns, so patches there are seen less often. Then single random patches are
    hidden or shown until exactly int(patches · (1 − ratio)) are seen.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      ratio: share of hidden patches.
      length: side of a block in patches. Authors: 3; of an even block the longer half lies before the centre.
      adjust: share of patches for which further blocks are drawn, since blocks overlap. Authors: 0.07.

    Returns:
      The numbers of the patches that are seen, in random order, and which are hidden.

    Raises:
      ValueError: a ratio that hides nothing or everything, or a grid that is too small for a block.

    References:
      Baevski et al. 2022, https://arxiv.org/abs/2212.07525, sect. 3.3, and `compute_block_mask_2d` of fairseq.
    """
    rows, columns = grid
    count = int(rows * columns * (1 - ratio))
    if not 1 <= count < rows * columns:
        raise ValueError(f'ratio must hide some of {rows * columns} patches and not all, and {ratio} leaves {count}')
    centres = int(rows * columns * (1 - ratio + adjust) / length**2)
    if not 1 <= length <= min(grid) or centres < 1:
        raise ValueError(
            f'a grid of {rows}x{columns} patches is too small for visible blocks of {length}x{length} at ratio {ratio}'
        )
    steps = jnp.arange(length) - length // 2

    def draw(key: Array) -> tuple[Array, Array]:
        first, second = jax.random.split(key)
        centre = jax.random.randint(first, (centres,), 0, rows * columns, jnp.int32)
        down = jnp.clip(centre[:, None, None] // columns + steps[None, :, None], 0, rows - 1)
        across = jnp.clip(centre[:, None, None] % columns + steps[None, None], 0, columns - 1)
        shown = jnp.zeros(grid, bool).at[down, across].set(True).reshape(-1)
        order = jnp.argsort(-(shown + uniform(second, (rows * columns,))))
        return order[:count], jnp.argsort(order) >= count

    return jax.vmap(draw)(keys)
