"""Groups of neighbouring pixels or patches that are corrupted together (GMML)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from .places import Number, Range, rectangle, uniform


def _lengths(size: int, largest: Number, align: int) -> tuple[int, int]:
    """The shortest and the longest side of a rectangle before it is cut at the border, in pixels."""
    most = int(size * largest)
    if align < 1 or most <= align:
        raise ValueError(
            f'a side of {size} is too short for groups of up to {largest} of it in steps of {align}: '
            f'int({size} · {largest}) must exceed {align}'
        )
    return align, most - 1


def _mean_length(size: int, lengths: tuple[int, int], align: int) -> float:
    """Mean side after the cut at the border and rounding."""
    starts = [start // align * align for start in range(size - align)]
    sides = range(lengths[0], lengths[1] + 1)
    return sum(round(min(s, size - r) / align) * align for r in starts for s in sides) / (len(starts) * len(sides))


def group(
    keys: Key[Array, ' batch'],
    size: tuple[int, int],
    share: Range = (0.5, 0.75),
    *,
    largest: Number = 0.3,
    align: int = 1,
    boxes: int = 0,
) -> Bool[Array, 'batch rows columns']:
    """Covers rectangles at random places until a drawn share of the image is covered (GMML).

    Sides are uniform integers from `align` to int(side · largest) − 1, cut at the border, then rounded to multiples of
    `align`; the last rectangle may pass the share. The authors' loop is unbounded, here at most `boxes` are drawn.

    Args:
      keys: typed keys, one an example.
      size: rows and columns, of pixels or patches.
      share: range of the share to cover. Authors: (0.5, 0.75) for noise, (0.3, 0.3) for parts of other images.
      largest: longest side of a rectangle, as a share of the image's. Authors: 0.3.
      align: corners and sides are multiples of it; the side of a patch covers whole patches. Authors: 1.
      boxes: how many rectangles are drawn; 0 takes three times as many as cover the largest share on average.

    Returns:
      Which pixels are covered.

    Raises:
      ValueError: shares that cover nothing or everything, or an image that is too small for the rectangles.

    References:
      Atito et al. 2021, https://arxiv.org/abs/2205.14986, sect. 3, and `GMML_drop_rand_patches` of the authors' code.
    """
    if not 0 < share[0] <= share[1] < 1:
        raise ValueError(f'share must be two numbers in order, above 0 and below 1, not {share}')
    lengths = [_lengths(side, largest, align) for side in size]
    cover = math.prod(_mean_length(s, n, align) / s for s, n in zip(size, lengths, strict=True))
    count = boxes or 10 + math.ceil(3 * math.log(1 - share[1]) / math.log(1 - cover))

    def line(shares: Array, side: int, lengths: tuple[int, int]) -> tuple[Array, Array]:
        start = jnp.floor(shares[:, 0] * (side - align)).astype(int) // align * align
        length = lengths[0] + jnp.floor(shares[:, 1] * (lengths[1] - lengths[0] + 1)).astype(int)
        length = jnp.minimum(length, side - start)
        return start, jnp.round(length / align).astype(int) * align

    def draw(key: Array) -> Array:
        first, second = jax.random.split(key)
        wanted = (share[0] + (share[1] - share[0]) * uniform(first, ())) * (size[0] * size[1])
        shares = uniform(second, (count, 4))
        tops, heights = line(shares[:, :2], size[0], lengths[0])
        lefts, widths = line(shares[:, 2:], size[1], lengths[1])

        def add(number: Array, covered: Array) -> Array:
            box = rectangle(tops[number], lefts[number], heights[number], widths[number], size)
            return jnp.where(jnp.sum(covered) < wanted, covered | box, covered)

        # Nothing is covered at first. Made of the key's draw, so that under shard_map it varies as the result does.
        nothing = jnp.broadcast_to(wanted < 0.0, size[0] * size[1])
        return jax.lax.fori_loop(0, count, add, nothing).reshape(size)

    return jax.vmap(draw)(keys)
