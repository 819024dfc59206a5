"""Operations that set a task: what they do to an image is the answer, which they report as `answer`.

An answer is a row of zeros with a one, so that its length says how many answers there are. Operations that cut or copy
an image give one axis more, `[parts, height, width, channels]`, and run after all others.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from . import geometry
from ._common import Image, Report, reported, require_choice, require_probability, to_float
from .patches import cells_of, random_tiles

TURNS = 4
PARTS = ('quadrant', 'square')
# Of nine tiles there are 362,880 permutations; of sixteen, 2e13.
MOST_TILES = 9
# Where the neighbours of the middle cell of a 3x3 grid stand, row by row: (row, column) from it.
NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0))


def _require_square(name: str, image: Array) -> None:
    if image.shape[0] != image.shape[1]:
        raise ValueError(f'{name} needs square images, not {list(image.shape[:2])}')


def four_turns(image: Image) -> Float[Array, '4 side side channels']:
    """An image turned counter-clockwise by 0, 90, 180 and 270 degrees."""
    image = to_float(image)
    _require_square('a turn by 90 degrees', image)
    return jnp.stack([jnp.rot90(image, quarters) for quarters in range(TURNS)])


def random_turns(
    key: PRNGKeyArray, image: Image, *, copies: int = TURNS, report: bool = False
) -> Float[Array, 'copies side side channels'] | Report:
    """`copies` of a square image, each turned by another multiple of 90 degrees, in random order.

    Args:
      key, image: the draw's key, and an image.
      copies: 4 shows every turn, as the authors do; 1 shows one of them.
      report: also give `answer` `[copies, 4]`: 0, 90, 180, 270 degrees counter-clockwise. The order is
        random, so that other examples' answers are wrong ones.

    References:
      Gidaris et al. 2018, https://arxiv.org/abs/1803.07728, section 2; `dataloader.py` of the authors.
    """
    if copies > TURNS:
        raise ValueError(f'copies={copies} is more than the {TURNS} turns that there are')
    order = jax.random.permutation(key, TURNS)[:copies]
    return reported(four_turns(image)[order], {'answer': jax.nn.one_hot(order, TURNS)}, report)


@functools.lru_cache(maxsize=8)
def _hamming_permutations(tiles: int, count: int, first: int) -> np.ndarray:
    every = np.array(list(itertools.permutations(range(tiles))), np.uint8)
    # The sum of the distances to what was chosen, in double precision and in the authors' order, which settles ties.
    total, chosen = np.zeros(len(every)), [first]
    for _ in range(count - 1):
        total += (every != every[chosen[-1]]).sum(axis=1) / tiles
        total[chosen[-1]] = -np.inf
        chosen.append(int(np.argmax(total / len(chosen))))
    return every[chosen].astype(np.int32)


def hamming_permutations(tiles: int, count: int, *, first: int = 0) -> Int[np.ndarray, 'count tiles']:
    """Permutations of `tiles` places, each the farthest from those before it: largest mean Hamming distance.

    Ties go to the first in lexicographic order.

    Args:
      tiles: at most 9.
      count: how many; at most tiles!.
      first: number of the first one in lexicographic order. The authors draw it; 0 is the identity.

    References:
      Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246, algorithm 1; `select_permutations.py` of
      bbrattoli/JigsawPuzzlePytorch.
    """
    if not 1 <= tiles <= MOST_TILES:
        raise ValueError(f'permutations are chosen among those of 1 to {MOST_TILES} tiles, not of {tiles}')
    if not 1 <= count <= math.factorial(tiles):
        raise ValueError(f'permutations={count} must lie in 1 ... {math.factorial(tiles)}, those of {tiles} tiles')
    return _hamming_permutations(tiles, count, first)


def random_jigsaw(
    key: PRNGKeyArray, image: Image, *, grid: int = 3, tile: int = 0, permutations: int = 100, report: bool = False
) -> Float[Array, 'tiles side side channels'] | Report:
    """The cells of an image in one of a fixed set of orders, each cut to `tile` pixels at a random place of its cell.

    Args:
      key, image: the draw's key, and an image whose sides `grid` divides.
      grid: cells along a side, 1 to 3.
      tile: side of a tile; 0 takes the whole cell, which must then be square. What is cut off is the gap between tiles.
      permutations: size of the set, :func:`hamming_permutations`.
      report: also give `answer` `[permutations]`: of number p, tile i shows cell `set[p][i]`.

    References:
      Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246: 3x3 cells of 75 pixels, tiles of 64, 1000 permutations.
    """
    known = jnp.asarray(hamming_permutations(grid * grid, permutations))
    cells = cells_of(to_float(image), grid)
    order_key, place_key = jax.random.split(key)
    number = jax.random.randint(order_key, (), 0, permutations)
    tiles = random_tiles(place_key, cells[known[number]], tile)
    return reported(tiles, {'answer': jax.nn.one_hot(number, permutations)}, report)


def random_patch_pair(
    key: PRNGKeyArray, image: Image, *, patch: int, gap: int = 0, jitter: int = 0, report: bool = False
) -> Float[Array, '2 patch patch channels'] | Report:
    """A patch and one of the eight patches around it.

    The 3x3 grid of patches, `gap` pixels between them, stands at a random place of the image; each of the two patches
    is then moved by up to `jitter` pixels along either axis.

    Args:
      key, image: the draw's key, and an image that holds the grid: 3·patch + 2·gap + 2·jitter pixels a side.
      patch: side of a patch. Paper: 96.
      gap: pixels between neighbours. Paper: 48, about half a patch.
      jitter: pixels. Paper: 7.
      report: also give `answer` `[8]`: where the second patch stands, row by row around the first.

    References:
      Doersch et al. 2015, https://arxiv.org/abs/1505.05192, section 3.
    """
    image = to_float(image)
    needed = 3 * patch + 2 * gap + 2 * jitter
    if needed > min(image.shape[:2]):
        raise ValueError(
            f'patch={patch} with gap={gap} and jitter={jitter} needs {needed} pixels a side, '
            f'and the image has {list(image.shape[:2])}'
        )
    place_key, answer_key, jitter_key = jax.random.split(key, 3)
    room = jnp.array(image.shape[:2]) - needed + 1
    origin = jitter + patch + gap + jnp.floor(jax.random.uniform(place_key, (2,)) * room).astype(jnp.int32)
    number = jax.random.randint(answer_key, (), 0, len(NEIGHBOURS))
    steps = jnp.stack([jnp.zeros(2, jnp.int32), jnp.array(NEIGHBOURS)[number]])
    moved = jax.random.randint(jitter_key, (2, 2), -jitter, jitter + 1)
    corners = (origin[None] + (patch + gap) * steps + moved).astype(jnp.int32)

    def cut(corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.int32(0)), (patch, patch, image.shape[2]))

    return reported(jax.vmap(cut)(corners), {'answer': jax.nn.one_hot(number, len(NEIGHBOURS))}, report)


def turn_part(
    image: Image, corner: Int[Array, '2'], side: Int[Array, ''], quarters: Int[Array, '']
) -> Float[Array, 'height width channels']:
    """An image with a square of it turned counter-clockwise by a multiple of 90 degrees.

    Args:
      image: any.
      corner: (row, column) of the square's first pixel.
      side: of the square; the caller sees to it that it lies in the image.
      quarters: 0 to 3.
    """
    image = to_float(image)
    rows, columns = jnp.meshgrid(*(jnp.arange(n, dtype=jnp.int32) for n in image.shape[:2]), indexing='ij')
    down, across = rows - corner[0], columns - corner[1]
    inside = (down >= 0) & (down < side) & (across >= 0) & (across < side)
    last = side - 1
    # Which pixel of the square each of its pixels shows.
    from_rows = jnp.stack([down, across, last - down, last - across])[quarters]
    from_columns = jnp.stack([across, last - down, last - across, down])[quarters]
    place = jnp.where(inside, corner[0] + from_rows, rows), jnp.where(inside, corner[1] + from_columns, columns)
    return image[place]


def random_part_turn(
    key: PRNGKeyArray, image: Image, *, part: str = 'quadrant', least: int = 2, report: bool = False
) -> Float[Array, 'height width channels'] | Report:
    """One square part of an image turned by a random multiple of 90 degrees; the rest stays.

    Args:
      key, image: the draw's key, and a square image of even side.
      part: 'quadrant' turns one of the four quadrants (LoRot-E), 'square' one at a random place, of a random side
        from `least` to half the image's (LoRot-I). Each image has its own; the authors draw one square a batch, and
        never one that touches the last row or column.
      least: side of the smallest square.
      report: also give `answer`: `[16]` of a quadrant, 4·quadrant + quarters, quadrants row by row; `[4]` of a square.

    References:
      Moon et al. 2022, https://arxiv.org/abs/2207.10023, section 3.
    """
    require_choice('part', part, PARTS)
    image = to_float(image)
    _require_square('part_turn', image)
    half = image.shape[0] // 2
    if image.shape[0] % 2 or not 1 <= least <= half:
        raise ValueError(f'part_turn needs an even side of at least twice least={least}, and the image has {2 * half}')
    part_key, turn_key, place_key = jax.random.split(key, 3)
    quarters = jax.random.randint(turn_key, (), 0, TURNS)
    if part == 'quadrant':
        quadrant = jax.random.randint(part_key, (), 0, 4)
        corner, side = half * jnp.stack([quadrant // 2, quadrant % 2]), jnp.asarray(half, jnp.int32)
        answer = jax.nn.one_hot(TURNS * quadrant + quarters, 4 * TURNS)
    else:
        side = jax.random.randint(part_key, (), least, half + 1)
        room = image.shape[0] - side + 1
        corner = jnp.floor(jax.random.uniform(place_key, (2,)) * room).astype(jnp.int32)
        answer = jax.nn.one_hot(quarters, TURNS)
    return reported(turn_part(image, corner, side, quarters), {'answer': answer}, report)


def random_quarter(
    key: PRNGKeyArray,
    image: Image,
    *,
    place: int,
    side: int,
    overlap: float = 0.3,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    method: str = 'bilinear',
    flip: float = 0.5,
    report: bool = False,
) -> Float[Array, 'side side channels'] | Report:
    """A random crop of one of the four overlapping quarters of an image, maybe mirrored: a patch of a montage.

    It runs before the operations of colour, so that each patch has its own.

    Args:
      key, image: the draw's key, and an image.
      place: which quarter, 0 to 3, row by row.
      side: of the patch that the crop is resized to.
      overlap: by how much of the image's side a quarter reaches over the middle, from 0 to below ½. Authors: 0.3.
      scale, ratio: of the crop in its quarter, as :func:`selfsup.augment.random_resized_crop`. Authors: 0.2 to 1.
      method: interpolation.
      flip: probability that the patch is mirrored, which leaves its place as it is.
      report: also give `answer` `[4]`, the place, and `box` in the image.

    References:
      Chen et al. 2021, https://arxiv.org/abs/2104.00323, section 3; `loader.py` of the authors.
    """
    if place > 3:
        raise ValueError(f'place={place} is none of the four quarters, 0 to 3')
    if not 0 <= overlap < 0.5:
        raise ValueError(f'overlap must lie in [0, 0.5), not {overlap}')
    require_probability(flip)
    image = to_float(image)
    rows, columns = (round((0.5 + overlap) * length) for length in image.shape[:2])
    corner = (image.shape[0] - rows) * (place // 2), (image.shape[1] - columns) * (place % 2)
    crop_key, flip_key = jax.random.split(key)
    box = geometry.sample_crop(crop_key, rows, columns, scale=scale, ratio=ratio).astype(image.dtype)
    box = box + jnp.array([*corner, 0, 0], image.dtype)
    mirrored = jax.random.bernoulli(flip_key, flip)
    patch = geometry.crop_and_resize(image, box, side, flip=mirrored, method=method)
    return reported(patch, {'answer': jax.nn.one_hot(place, 4), 'box': box}, report)
