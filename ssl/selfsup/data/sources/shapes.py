"""Sprites with known factors, rendered when they are read."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ...errors import UserError
from ..pictures import as_picture
from ..sprites import SHAPES, drawn_factors, render
from .base import Options, Source, digest, split

MOST_IMAGES, SIDE, SEED = 10**7, 32, 0


@dataclass(frozen=True)
class Sprites:
    """Reader of rendered sprites; image i is a function of i, the seed and the side.

    Attributes:
      values: of every factor, `[n, factors]`.
      names: of the factors.
      side: of the images.
    """

    values: np.ndarray
    names: tuple[str, ...]
    side: int

    def array(self, index: int) -> np.ndarray:
        return render(dict(zip(self.names, self.values[index].tolist(), strict=True)), self.side)

    def picture(self, index: int) -> Image.Image:
        return as_picture(self.array(index))

    def name(self, index: int) -> str:
        return ''


def open_shapes(text: str, options: Options) -> tuple[Source, Source]:
    """`shapes:<images>`, 32 x 32 pixels in colour, the class is the shape; `data.test_fraction` are the test set.

    The factors shape, colour, size, angle, row and column are drawn independently and uniformly, and stand in
    `Source.factors`. Squares look alike after a quarter turn and ellipses after half of one, so of `angle` only a part
    is to be seen.
    """
    if not re.fullmatch(r'\d{1,8}', text) or not 10 <= int(text) <= MOST_IMAGES:
        raise UserError(f"data.source='shapes:{text}' must be shapes:<images>, from 10 to {MOST_IMAGES}")
    factors = drawn_factors(int(text), SEED)
    values = np.stack([factor.values for factor in factors.values()], axis=1)
    reader: Any = Sprites(values, tuple(factors), SIDE)
    name = f'shapes:{text}'
    fingerprint = digest(f'sprites {SIDE} {SEED}', values.tobytes())
    source = Source(name, reader, factors['shape'].values, SHAPES, fingerprint, factors=factors)
    return split(source, options.test_fraction, seed=0, parts=('train', 'test'))
