"""Images of one sprite with known factors, after dSprites' recipe, in colour; rendered from their numbers.

As in `rendered`, the bytes are the same on every machine: random numbers are words of Philox, and pixels follow by
additions, products, quotients and comparisons of float64 and sums of integers. Angles are multiples of 9 degrees, whose
sines come from one constant by repeated multiplication.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SHAPES = ('square', 'ellipse', 'heart')
# The colours that a sprite may have, on black.
COLOURS = {
    'red': (230, 60, 60),
    'orange': (230, 150, 40),
    'yellow': (220, 220, 60),
    'green': (60, 200, 80),
    'cyan': (60, 210, 210),
    'blue': (70, 100, 240),
    'violet': (160, 80, 230),
    'white': (230, 230, 230),
}
SIZES, ANGLES, PLACES = 6, 40, 32
SUBPIXELS = 4  # along each side of a pixel
RADII = (0.1, 0.2)  # of the smallest and the largest sprite, in units of the side
MARGIN = 0.25  # of the centre from the border, so that no sprite is cut
NINE_DEGREES = (0.9876883405951378, 0.15643446504023087)  # cosine and sine

# Shape -> whether a point of its own coordinates lies inside; the three have about equal areas.
INSIDE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'square': lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.8,
    'ellipse': lambda x, y: x * x + 4.0 * y * y <= 1.6,
    'heart': lambda x, y: (1.3 * (x * x + y * y) - 1.0) * (1.3 * (x * x + y * y) - 1.0) * (
        1.3 * (x * x + y * y) - 1.0
    ) <= 2.0 * x * x * y * y * y,
}  # fmt: skip


class Factor(NamedTuple):
    """What is known of every row of a source.

    Attributes:
      values: `[n]` int32, from 0.
      count: of possible values.
      kind: 'class', 'number' (ordered, evenly spaced) or 'angle' (ordered, a full turn).
    """

    values: np.ndarray
    count: int
    kind: str


# Factor -> number of values and kind, in the order in which they are drawn.
FACTORS = {
    'shape': (len(SHAPES), 'class'),
    'colour': (len(COLOURS), 'class'),
    'size': (SIZES, 'number'),
    'angle': (ANGLES, 'angle'),
    'row': (PLACES, 'number'),
    'column': (PLACES, 'number'),
}


def drawn_factors(count: int, seed: int) -> dict[str, Factor]:
    """Independent, uniform factors of so many images; those of number i do not depend on the count."""
    words = np.random.Philox(key=[seed, 8]).random_raw(count * len(FACTORS)).reshape(count, len(FACTORS))
    shares = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return {
        name: Factor(np.floor(shares[:, at] * possible).astype(np.int32), possible, kind)
        for at, (name, (possible, kind)) in enumerate(FACTORS.items())
    }


def _directions() -> np.ndarray:
    """Cosine and sine of every angle, `[40, 2]`."""
    turns = [(1.0, 0.0)]
    for _ in range(ANGLES - 1):
        (c, s), (step_c, step_s) = turns[-1], NINE_DEGREES
        turns.append((c * step_c - s * step_s, c * step_s + s * step_c))
    return np.array(turns)


DIRECTIONS = _directions()


def render(numbers: dict[str, int], side: int) -> np.ndarray:
    """The image uint8 `[side, side, 3]` of one value of each factor, edges anti-aliased with 4 x 4 points a pixel."""
    radius = RADII[0] + (RADII[1] - RADII[0]) * numbers['size'] / (SIZES - 1)
    top, left = (MARGIN + (1.0 - 2.0 * MARGIN) * numbers[at] / (PLACES - 1) for at in ('row', 'column'))
    points = (np.arange(side * SUBPIXELS) + 0.5) / (side * SUBPIXELS)
    # Rows of an image go down, and the heart's own axis goes up.
    y, x = ((top - points) / radius)[:, None], ((points - left) / radius)[None]
    cosine, sine = DIRECTIONS[numbers['angle']]
    inside = INSIDE[SHAPES[numbers['shape']]](cosine * x + sine * y, cosine * y - sine * x)
    covered = inside.reshape(side, SUBPIXELS, side, SUBPIXELS).sum(axis=(1, 3))
    colour = np.array(tuple(COLOURS.values())[numbers['colour']], np.int64)
    pixels = (covered[..., None] * colour + SUBPIXELS**2 // 2) // SUBPIXELS**2
    return pixels.astype(np.uint8)
