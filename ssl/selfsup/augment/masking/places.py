"""Between masks and the numbers of patches, with static shapes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

Number = int | float
Range = tuple[Number, Number]  # least and most


def rectangle(top: Array, left: Array, height: Array, width: Array, grid: tuple[int, int]) -> Bool[Array, ' patches']:
    """The patches of one rectangle; its place and size may be traced."""
    rows, columns = jnp.arange(grid[0]), jnp.arange(grid[1])
    inside = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return (inside[0][:, None] & inside[1][None]).reshape(-1)


def places(
    marked: Bool[Array, 'batch patches'], count: int
) -> tuple[Int[Array, 'batch count'], Bool[Array, 'batch count']]:
    """The numbers of the first `count` marked patches of each image, in increasing order, and which of them are real.

    Where an image has fewer, unmarked patches fill up and their flags are False: a loss weights by the flags.

    Args:
      marked: for example patches to predict.
      count: from 1 to all patches; a bound on how many are marked, or the patches beyond it are left out.

    Raises:
      ValueError: a count that is not from 1 to the number of patches.
    """
    check_count(count, marked.shape[1])
    order = jnp.argsort(~marked, axis=1, stable=True)[:, :count]
    return order, jnp.take_along_axis(marked, order, axis=1)


def chosen(keys: Key[Array, ' batch'], marked: Bool[Array, 'batch patches'], count: int) -> Int[Array, 'batch count']:
    """The numbers of `count` of the marked patches of each image, drawn without replacement, in random order.

    Args:
      keys: typed keys, one an example.
      marked: for example hidden patches; unmarked ones fill up where an image has fewer than `count`.
      count: from 1 to all patches.

    Raises:
      ValueError: a count that is not from 1 to the number of patches.
    """
    check_count(count, marked.shape[1])
    noise = jax.vmap(lambda key: uniform(key, marked.shape[1:]))(keys)
    numbers = jnp.argsort(jnp.where(marked, noise, noise + 1.0), axis=1)[:, :count]
    # shard_map takes a sort's indices for equal on all devices (jax 0.10), and gradients of what they alone choose
    # would be added up wrongly. What is drawn differs, and so does the sum with this 0.
    return numbers + (noise[:, :count] < 0)


def check_count(count: int, patches: int) -> None:
    """Refuses to take no patch, or more than there are."""
    if not 1 <= count <= patches:
        raise ValueError(f'count must be from 1 to {patches}, the number of patches, not {count}')


def drawn_place(share: Array, sides: int, length: Array) -> Int[Array, '...']:
    """Where a block of `length` begins on a side, uniform over the places at which it fits, from a share in [0, 1)."""
    return jnp.minimum(jnp.floor(share * (sides - length + 1)).astype(int), sides - length)


def side(area: Array, ratio: Array) -> Int[Array, '...']:
    """√(area · ratio) rounded to the nearest integer, as the authors of block masks round sides."""
    return jnp.round(jnp.sqrt(area * ratio)).astype(int)


def uniform(key: Array, shape: tuple[int, ...]) -> Array:
    """Uniform float32 numbers in [0, 1): masks are the same with 64-bit types switched on."""
    return jax.random.uniform(key, shape, jnp.float32)
