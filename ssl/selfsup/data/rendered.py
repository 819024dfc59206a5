"""Images with a class for every pixel, rendered from a seed: shapes in random colours on random textures.

The arrays are the same to the byte on every machine: random numbers are raw words of Philox, whose stream NumPy
guarantees, and pixels follow from them by additions, products, quotients, roots and comparisons of float64, which IEEE
754 rounds in one way, and by sums of integers. There is no sine, power, product of matrices or sum of floats.
"""

from collections.abc import Callable

import numpy as np

from ..errors import UserError

CLASSES = ('background', 'disc', 'square', 'triangle', 'ring', 'cross')
SUBPIXELS = 4  # along each side of a pixel
MOST_SHAPES = 4  # in an image, at least one
RADII = (0.15, 0.3)  # of a shape, in units of the image's shorter side
SPREAD = 48  # most that the two colours of a texture differ from their middle, of 255
# A shape's colour differs from the middle of the texture by at least this in every channel, counted modulo 256.
CONTRAST = 72

# Class -> whether a point of a shape's own coordinates, its radius being 1, lies inside.
INSIDE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'disc': lambda x, y: x * x + y * y <= 1.0,
    'square': lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.9,
    'triangle': lambda x, y: (y >= -0.65) & (1.7320508075688772 * np.abs(x) + y <= 1.3),
    'ring': lambda x, y: (x * x + y * y <= 1.0) & (x * x + y * y >= 0.36),
    'cross': lambda x, y: (
        np.minimum(np.abs(x), np.abs(y)) <= np.where(np.maximum(np.abs(x), np.abs(y)) <= 1.0, 0.3, -1)
    ),
}


class _Draws:
    """Random numbers of one image."""

    def __init__(self, seed: int, number: int):
        self._stream = np.random.Philox(key=[seed, 6], counter=[0, 0, 0, number])

    def uniform(self, *shape: int) -> np.ndarray:
        """Multiples of 2⁻⁵³ in [0, 1)."""
        words = self._stream.random_raw(int(np.prod(shape)))
        return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        return float(low + (high - low) * self.uniform(1)[0])

    def below(self, count: int) -> int:
        return int(self.uniform(1)[0] * count)

    def direction(self) -> tuple[float, float]:
        """A unit vector, its angle uniform: a point of the disc, drawn until it is one, over its length."""
        while True:
            x, y = (2.0 * self.uniform(2) - 1.0).tolist()
            squared = x * x + y * y
            if 0.01 <= squared <= 1.0:
                length = float(np.sqrt(squared))
                return x / length, y / length


def _triangle_wave(x: np.ndarray) -> np.ndarray:
    """Period 1, from 0 to 1 and back."""
    return np.abs(2.0 * (x - np.floor(x)) - 1.0)


def _noise(draws: _Draws, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of random values on a grid of 3 to 10 cells a side, in [0, 1]."""
    cells = 3 + draws.below(8)
    values = draws.uniform(cells + 1, cells + 1)
    row, column = np.floor(y * cells).astype(np.int64), np.floor(x * cells).astype(np.int64)
    down, along = y * cells - row, x * cells - column
    upper = values[row, column] * (1.0 - along) + values[row, column + 1] * along
    lower = values[row + 1, column] * (1.0 - along) + values[row + 1, column + 1] * along
    return upper * (1.0 - down) + lower * down


def _stripes(draws: _Draws, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    cosine, sine = draws.direction()
    return _triangle_wave((cosine * x + sine * y) * draws.between(2.0, 8.0))


def _checks(draws: _Draws, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """With soft edges."""
    cosine, sine = draws.direction()
    count = draws.between(1.0, 3.0)
    u, v = (cosine * x + sine * y) * count, (cosine * y - sine * x) * count
    return np.clip(0.5 + 8.0 * (_triangle_wave(u) - 0.5) * (_triangle_wave(v) - 0.5), 0.0, 1.0)


TEXTURES = (_noise, _stripes, _checks)


def _texture(draws: _Draws, height: int, width: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `[height, width, channels]` from 0 to 255, and the middle of their two colours `[channels]`."""
    y, x = (np.arange(height) + 0.5)[:, None] / height, (np.arange(width) + 0.5)[None] / width
    middle = 256.0 * draws.uniform(channels)
    offset = SPREAD * (2.0 * draws.uniform(channels) - 1.0)
    blend = 2.0 * TEXTURES[draws.below(len(TEXTURES))](draws, y, x) - 1.0
    grain = 16.0 * (draws.uniform(height, width) - 0.5)
    pixels = middle + blend[..., None] * offset + grain[..., None]
    return np.clip(np.floor(pixels), 0, 255).astype(np.int64), np.floor(middle)


def _part(middle: float, radius: float, count: int) -> slice:
    """The points of a side that lie within `radius` of `middle`, both in points, with some to spare."""
    return slice(max(int(middle - radius) - 1, 0), min(int(middle + radius) + 2, count))


def _image(draws: _Draws, height: int, width: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    background, middle = _texture(draws, height, width, channels)
    owners = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)  # which shape each point shows, 0 for none
    colours, labels = [background], [0]
    for number in range(1, 2 + draws.below(MOST_SHAPES)):
        labels.append(1 + draws.below(len(INSIDE)))
        radius = draws.between(*RADII) * min(height, width) * SUBPIXELS
        top, left = (draws.between(0.1, 0.9) * side for side in owners.shape)
        cosine, sine = draws.direction()
        colours.append(
            ((middle + CONTRAST + np.floor((257 - 2 * CONTRAST) * draws.uniform(channels))) % 256).astype(int)
        )
        rows, columns = (_part(at, 1.5 * radius, side) for at, side in zip((top, left), owners.shape, strict=True))
        y = ((np.arange(rows.start, rows.stop) + 0.5 - top) / radius)[:, None]
        x = ((np.arange(columns.start, columns.stop) + 0.5 - left) / radius)[None]
        inside = INSIDE[CLASSES[labels[-1]]](cosine * x + sine * y, cosine * y - sine * x)
        owners[rows, columns][inside] = number
    cells, points = owners.reshape(height, SUBPIXELS, width, SUBPIXELS), SUBPIXELS**2
    shown = [(cells == number).sum(axis=(1, 3)) for number in range(len(labels))]  # points of each pixel
    pixels = np.zeros((height, width, channels), np.int64)
    counts = np.zeros((len(CLASSES), height, width), np.int64)
    for label, colour, count in zip(labels, colours, shown, strict=True):
        pixels += count[..., None] * colour
        counts[label] += count
    return ((pixels + points // 2) // points).astype(np.uint8), np.argmax(counts, axis=0).astype(np.uint8)


def render(count: int, size: tuple[int, int], *, channels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images and the class of each of their pixels, for evaluations of patch features.

    An image is a texture (smooth noise, stripes or checks of two close colours, with grain) and one to four shapes,
    each of a class, a colour, a radius, a place and a rotation of its own, the later ones over the earlier ones.
    Colours do not depend on the class. Edges are anti-aliased with 4 x 4 points a pixel, and the mask has the class of
    most of them (of equals, the smaller number).

    Args:
      count: of images. Number i is a function of the seed, the size, the channels and i.
      size: height and width in pixels.
      channels: of the images.
      seed: from 0.

    Returns:
      Images uint8 `[count, height, width, channels]` and masks uint8 `[count, height, width]`, numbers of `CLASSES`, 0
      being the background.

    Raises:
      UserError: a count, size, number of channels or seed that is no such number.
    """
    height, width = size
    if min(count, height, width, channels) < 1 or seed < 0:
        raise UserError(
            f'rendering needs a count, sides and channels of at least 1 and a seed of at least 0, not {count}, '
            f'{height}x{width}, {channels} and {seed}'
        )
    images = np.empty((count, height, width, channels), np.uint8)
    masks = np.empty((count, height, width), np.uint8)
    for number in range(count):
        images[number], masks[number] = _image(_Draws(seed, number), height, width, channels)
    return images, masks
