"""Masks without neighbourhoods: single patches (MAE), or units of several (SimMIM)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from .places import Number, check_count, uniform


def keep_smallest(
    noise: Float[Array, 'batch patches'], count: int
) -> tuple[Int[Array, 'batch kept'], Bool[Array, 'batch patches']]:
    """The `count` patches of the smallest noise in each row, as MAE's code chooses them.

    Args:
      noise: a number for each patch; which order ties take is not specified.
      count: patches to keep, from 1 to all of them.

    Returns:
      The numbers of the kept patches in increasing order of their noise, and which patches are not kept.

    Raises:
      ValueError: a count that is not from 1 to the number of patches.

    References:
      He et al. 2022, https://arxiv.org/abs/2111.06377, sect. 3, and `random_masking` of the authors' code.
    """
    check_count(count, noise.shape[1])
    order = jnp.argsort(noise, axis=1)
    return order[:, :count], jnp.argsort(order, axis=1) >= count


def random(
    keys: Key[Array, ' batch'], grid: tuple[int, int], ratio: Number
) -> tuple[Int[Array, 'batch kept'], Bool[Array, 'batch patches']]:
    """Hides a random share of each image's patches (MAE).

    An example's mask depends on its own key alone, so that neither the number of devices nor that of pieces of the
    batch changes it; the number of kept patches is a Python integer, so that all masks share one compiled program.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      ratio: share of patches to hide, at least 0 and below 1; int(patches · (1 − ratio)) are kept, in Python's
        floating point as in the authors' code: 25 of 64 for 0.6.

    Returns:
      The numbers (row by row) of the kept patches in random order, and which patches are hidden.

    Raises:
      ValueError: a ratio outside its range, or one that keeps no patch.

    References:
      He et al. 2022, https://arxiv.org/abs/2111.06377, sect. 3.
    """
    patches = grid[0] * grid[1]
    count = int(patches * (1 - ratio))
    if not 0 <= ratio < 1 or count < 1:
        raise ValueError(f'ratio must be from 0 to below 1 and keep a patch of {patches}, not {ratio}')
    return keep_smallest(jax.vmap(lambda key: jax.random.uniform(key, (patches,)))(keys), count)


def units(
    keys: Key[Array, ' batch'], grid: tuple[int, int], ratio: Number, unit: int
) -> tuple[Int[Array, 'batch kept'], Bool[Array, 'batch patches']]:
    """Hides a random share of square units of several patches (SimMIM).

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      ratio: share of units to hide, above 0; ceil(units · ratio) are hidden, in Python's floating point as in the
        authors' code: 30 of 49 for 0.6.
      unit: side of a unit in patches; must divide both sides of the grid. Authors: 32 pixels.

    Returns:
      The numbers of the patches that are not hidden, in random order, and which are hidden.

    Raises:
      ValueError: units that do not tile the grid, or a ratio that hides no unit or all of them.

    References:
      Xie et al. 2022, https://arxiv.org/abs/2111.09886, sect. 3.2, and `MaskGenerator` of the authors' code.
    """
    rows, columns = grid
    if unit < 1 or rows % unit or columns % unit:
        raise ValueError(f'units of {unit}x{unit} patches do not tile a grid of {rows}x{columns}')
    count = rows * columns // unit**2
    hide = math.ceil(count * ratio)
    if not 1 <= hide < count:
        raise ValueError(f'ratio must hide at least one of {count} units and not all, and {ratio} hides {hide}')

    def draw(key: Array) -> tuple[Array, Array]:
        first, second = jax.random.split(key)
        hidden = jnp.argsort(jnp.argsort(uniform(first, (count,)))) < hide
        hidden = hidden.reshape(rows // unit, columns // unit).repeat(unit, 0).repeat(unit, 1).reshape(-1)
        order = jnp.argsort(hidden + uniform(second, (rows * columns,)))
        return order[: (count - hide) * unit**2], hidden

    return jax.vmap(draw)(keys)
