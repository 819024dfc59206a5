"""The crop boxes that the step's augmentation would draw, without jax, for workers that decode.

jax's random numbers are a counter-based generator (Threefry-2x32, 20 rounds: Salmon et al. 2011), so a
few lines of NumPy give the same ones, and an example's crop is the same wherever it is taken.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError

# Streams below a step's key, as engine.step, augment.make_views and augment.make_view fold them in.
_VIEWS, _CROP = 0, 0
_TRIES = 10
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
Word = np.ndarray | np.uint32
Key = tuple[Any, Any]  # two words: uint32, or arrays of them


def _threefry(key: Key, high: Word, low: Word) -> Key:
    """Two words of the stream of `key` at the counter (high, low), all uint32 of shapes that broadcast."""
    words = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = high + words[0], low + words[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
            y = y ^ x
        x = x + words[(group + 1) % 3]
        y = y + words[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def _fold_in(key: Key, number: Any) -> Key:
    """`jax.random.fold_in`."""
    low = np.asarray(number, np.uint32)
    return _threefry(key, np.zeros_like(low), low)


def _uniform(key: Key, count: int) -> np.ndarray:
    """`jax.random.uniform(key, (count,))` in float32, along a new last axis."""
    low = np.arange(count, dtype=np.uint32)
    x, y = _threefry((key[0][..., None], key[1][..., None]), np.zeros_like(low), low)
    bits = ((x ^ y) >> np.uint32(9)) | np.uint32(0x3F800000)
    return bits.view(np.float32) - np.float32(1)


class Crop(NamedTuple):
    """What a worker must know of a view: the fields of its specification's `crop`, and its size."""

    size: int
    scale: tuple[float, float]
    ratio: tuple[float, float]
    method: str


class Draws(NamedTuple):
    """Uniform numbers in [0, 1) for the boxes of some examples: areas and ratios `[n, tries]`, places `[n]`."""

    area: np.ndarray
    ratio: np.ndarray
    top: np.ndarray
    left: np.ndarray


def crops(views: dict[tuple[str, int], dict[str, Any]]) -> list[Crop]:
    """The crop of every view, in the order of the views.

    Args:
      views: what :func:`selfsup.augment.expand` gives of a recipe.

    Raises:
      UserError: if a view has none.
    """
    found = []
    for (name, _), spec in views.items():
        if 'crop' not in spec:
            raise UserError(
                f'augment.views.{name} has no crop, and data.crop=reading or canvas takes one of every view'
            )
        if spec.get('shared', 1) > 1:
            raise UserError(
                f'augment.views.{name}.shared={spec["shared"]} draws one crop for several images, and with '
                f'data.crop=reading or canvas each image has its own; take data.crop=device'
            )
        fields: dict[str, Any] = {'scale': (0.08, 1.0), 'ratio': (3 / 4, 4 / 3), 'method': 'bilinear', **spec['crop']}
        found.append(Crop(spec['size'], tuple(fields['scale']), tuple(fields['ratio']), fields['method']))
    return found


def draw(seed: int, step: int, positions: np.ndarray, views: int) -> list[Draws]:
    """What each view's boxes are made of, for the examples at `positions` of the batch of a step."""
    with np.errstate(over='ignore'):  # the generator's sums wrap around on purpose
        root = (np.uint32(0), np.uint32(seed))
        key = _fold_in(_fold_in(_fold_in(root, step), _VIEWS), np.asarray(positions)[:, None])
        x, y = _fold_in(_fold_in(key, np.arange(views)), _CROP)
        four = np.arange(4, dtype=np.uint32)
        x, y = _threefry((x[..., None], y[..., None]), np.zeros_like(four), four)  # jax.random.split
        tries = _uniform((x[..., :2], y[..., :2]), _TRIES)
        places = _uniform((x[..., 2:], y[..., 2:]), 1)[..., 0]
    return [Draws(tries[:, v, 0], tries[:, v, 1], places[:, v, 0], places[:, v, 1]) for v in range(views)]


def box(draws: Draws, row: int, height: int, width: int, crop: Crop) -> tuple[int, int, int, int]:
    """(top, left, height, width) of one example's crop: :func:`selfsup.augment.sample_crop` in NumPy.

    The same up to the last bit of an exponential or a root, which decides a side once in some 100,000 boxes.
    """
    one = np.float32
    low, high = one(math.log(crop.ratio[0])), one(math.log(crop.ratio[1]))
    least, most = one(crop.scale[0]), one(crop.scale[1])
    # Nearly every first try fits, so one at a time is a third of the work of all at once.
    for area, ratio in zip(draws.area[row], draws.ratio[row], strict=True):
        area = one(height * width) * max(area * (most - least) + least, least)
        aspect = np.exp(max(ratio * (high - low) + low, low))
        w, h = int(np.rint(np.sqrt(area * aspect))), int(np.rint(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            top = min(int(draws.top[row] * one(height - h + 1)), height - h)
            left = min(int(draws.left[row] * one(width - w + 1)), width - w)
            return top, left, h, w
    w, h = width, height
    if width / height < crop.ratio[0]:
        h = round(width / crop.ratio[0])
    elif width / height > crop.ratio[1]:
        w = round(height * crop.ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w
