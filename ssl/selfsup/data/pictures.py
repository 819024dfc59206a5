"""From an encoded image to uint8 pixels: depth, alpha, orientation, channels. The rules stand in docs/data.md."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from ..errors import UserError

# What Pillow warns of in a file is harmless or followed by an error, which names the file.
warnings.filterwarnings('ignore', module=r'PIL\.')
# Pillow reads files and hands out pixels in pieces of this size, and joins them: in one piece, a twentieth less work.
ImageFile.MAXBLOCK = 2**20  # type: ignore[assignment]
_GREY_MODES = ('1', 'L', 'LA')
_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'La', 'RGBa')
BEYOND = 1e-3  # of floats outside [0, 1]: a quarter of a level of 8 bits
ORIENTATION = 0x0112  # the EXIF tag
BACKGROUNDS = {'none': None, 'white': 255, 'black': 0}
ORIENTATIONS = ('stored', 'exif')


SKIP = 'data.on_corrupt=skip leaves such images out'


class CorruptImage(UserError):
    """One image that cannot be decoded; the rest of its source may be well."""


@dataclass(frozen=True)
class Treatment:
    """What is done to a picture before it is cropped or converted.

    Attributes:
      background: 'none' drops the alpha channel; 'white' or 'black' blends the image with that colour.
      orientation: 'stored' leaves the pixels as they are stored; 'exif' turns them as the EXIF tag says.
    """

    background: str = 'none'
    orientation: str = 'stored'

    def __call__(self, picture: Image.Image, name: str) -> Image.Image:
        try:
            treated = self._blend(self._turn(picture))
            if treated is not picture:
                picture.close()
            return treated
        except Exception as error:  # as for the decoder below
            raise _corrupt(name, error) from error

    def _turn(self, picture: Image.Image) -> Image.Image:
        # Turning decodes the image whole, so that only those that need it lose decoding at a reduced scale.
        if self.orientation != 'exif' or picture.getexif().get(ORIENTATION, 1) == 1:
            return picture
        return ImageOps.exif_transpose(picture)

    def _blend(self, picture: Image.Image) -> Image.Image:
        level = BACKGROUNDS[self.background]
        if level is None or not (picture.mode in _ALPHA_MODES or 'transparency' in picture.info):
            return picture
        grey = picture.mode in ('L', 'LA', 'La', '1')
        colour = picture.convert('RGBA')
        behind = Image.new('RGBA', colour.size, (level, level, level, 255))
        return Image.alpha_composite(behind, colour).convert('L' if grey else 'RGB')


def opened(what: Any, name: str) -> Image.Image:
    """A Pillow image of a path or of encoded bytes, not decoded yet.

    Raises:
      CorruptImage: if it is no image, with its name.
    """
    try:
        picture = Image.open(io.BytesIO(what) if isinstance(what, bytes) else what)
    except Exception as error:  # what Pillow's readers raise of broken files is open-ended
        raise _corrupt(name, error, _start(what)) from error
    if picture.format == 'EPS':  # Pillow starts Ghostscript for it, which runs what the file says
        picture.close()
        raise CorruptImage(f'{name} is no image that can be decoded: it is a PostScript file')
    return picture


def _start(what: Any) -> bytes | None:
    """The first bytes of a path or of encoded bytes; None where they cannot be read."""
    if isinstance(what, bytes):
        return what[:64]
    try:
        with open(what, 'rb') as file:
            return file.read(64)
    except OSError:
        return None


def decoded(picture: Image.Image, name: str, channels: int = 0) -> Image.Image:
    """A picture as grey ('L') or RGB, decoded; `channels` 1 or 3 decides which, 0 keeps what it is.

    16-bit grey becomes v >> 8 and floats in [0, 1] become 255 v, rounded: Pillow's own conversion would cut at 255.

    Raises:
      CorruptImage: if it is cut short or broken, with its name.
      UserError: if the range of its values is not known.
    """
    try:
        if picture.mode == 'F' or picture.mode.startswith('I'):
            picture = Image.fromarray(_eight_bits(picture, name))
        mode = {1: 'L', 3: 'RGB'}.get(channels) or ('L' if picture.mode in _GREY_MODES else 'RGB')
        if picture.mode != mode:
            return picture.convert(mode)
        picture.load()
        return picture  # as it is: `convert` would copy
    except UserError:
        raise
    except Exception as error:  # likewise
        raise _corrupt(name, error) from error


def _eight_bits(picture: Image.Image, name: str) -> np.ndarray:
    values = np.asarray(picture)
    if picture.mode == 'F':
        return as_uint8(values, f'{name} (mode F)')
    # Pillow opens 16-bit PGM, and in older versions 16-bit PNG, as 32-bit integers.
    if picture.mode == 'I' and picture.format not in ('PPM', 'PNG'):
        raise UserError(
            f'{name} holds 32-bit integers (mode I, {values.min()} ... {values.max()}), whose range is not known; '
            f'write it with 8 or 16 bits, or as floats in [0, 1]'
        )
    return as_uint8(values.astype(np.uint16), name)


def as_uint8(values: np.ndarray, name: str) -> np.ndarray:
    """Pixels as uint8: uint8 as they are, uint16 as v >> 8, floats in [0, 1] as 255 v, rounded.

    Raises:
      UserError: for other types, and for floats outside [0, 1], naming their range.
      CorruptImage: where nothing but one level would be left of several.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype in (np.uint16, np.dtype('>u2')):
        return _not_blank((values >> 8).astype(np.uint8), values, name)
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(f'{name}: images must be uint8, uint16 or floats in [0, 1], not {values.dtype}')
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    # Resampling and half precision go a rounding error beyond. Not a number fails the comparison.
    if not -BEYOND <= low <= high <= 1 + BEYOND:
        raise UserError(
            f'{name}: images of floats must lie in [0, 1], and these reach from {low:.6g} to {high:.6g}; '
            f'divide by the largest value, or store uint8'
        )
    # In pieces: a whole set in float64 would be eight times its size.
    pixels = np.empty(values.shape, np.uint8)
    for row, out in zip(np.atleast_1d(values), pixels, strict=True):
        out[...] = np.rint(np.clip(row, 0, 1) * 255)
    return _not_blank(pixels, values, name)


def _not_blank(pixels: np.ndarray, values: np.ndarray, name: str) -> np.ndarray:
    """The pixels, if they have more than one level or what they were made from has one alone."""
    if values.size and pixels.min() == pixels.max() and values.min() < values.max():
        raise CorruptImage(
            f'{name}: its levels from {values.min():.6g} to {values.max():.6g} ({values.dtype}) would all become '
            f'{pixels.max()} of 8 bits; scale them to the range of their type, or store uint8'
        )
    return pixels


def _corrupt(name: str, error: Exception, start: bytes | None = None) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f'{name} cannot be read: {error.strerror}')
    why = str(error)
    if isinstance(error, Image.DecompressionBombError):
        why = f'{why.split(", could")[0]}; reduce it beforehand'
    if start is not None and not start.strip(b'\0'):
        why = 'its bytes are all zero' if start else 'it is empty'
    if start is not None and start.startswith(b'version https://git-lfs'):
        why = 'it is a pointer of Git LFS; git lfs pull fetches the image'
    return CorruptImage(f'{name} is no image that can be decoded: {why}')


def as_array(picture: Image.Image) -> np.ndarray:
    """A Pillow image as uint8 `[height, width, channels]`."""
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def as_picture(array: np.ndarray, name: str = 'an image') -> Image.Image:
    """uint8 `[height, width, 1 or 3]` as a Pillow image.

    Raises:
      UserError: for another number of channels, whose meaning Pillow would guess.
    """
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise UserError(f'{name} has the shape {list(array.shape)}; cropping on reading needs 1 or 3 channels')
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def read_image(file: Path) -> np.ndarray:
    """An image file as uint8 `[height, width, channels]`, grey or RGB; alpha is dropped, the EXIF orientation ignored.

    Raises:
      CorruptImage: if the file is no image or is cut short, with its path.
    """
    with opened(file, str(file)) as picture:
        return as_array(decoded(picture, str(file)))
