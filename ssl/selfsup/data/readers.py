"""How the images of a source are read: small objects that a worker process can be given, without jax.

A reader has `array(i)`, the image as uint8 `[height, width, channels]`, and `picture(i)`, the same image
in full size as a Pillow image, not decoded yet where it comes from a file.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageFile

from ..errors import UserError

# What Pillow warns of in a file is harmless or followed by an error, which names the file.
warnings.filterwarnings('ignore', module=r'PIL\.')
# Pillow reads files and hands out pixels in pieces of this size, and joins them: in one piece, a twentieth less work.
ImageFile.MAXBLOCK = 2**20  # type: ignore[assignment]
_GREY_MODES = ('1', 'L', 'I', 'I;16', 'F', 'LA')


class CorruptImage(UserError):
    """One image that cannot be decoded; the rest of its source may be well."""


class Reader(Protocol):
    """What a source reads with."""

    def array(self, index: int) -> np.ndarray: ...

    def picture(self, index: int) -> Image.Image: ...


def opened(what: Any, name: str) -> Image.Image:
    """A Pillow image of a path or of encoded bytes, not decoded yet.

    Raises:
      CorruptImage: if it is no image, with its name.
    """
    try:
        return Image.open(io.BytesIO(what) if isinstance(what, bytes) else what)
    except Exception as error:  # what Pillow's readers raise of broken files is open-ended
        raise _corrupt(name, error) from error


def decoded(picture: Image.Image, name: str, channels: int = 0) -> Image.Image:
    """A picture as grey ('L') or RGB, decoded; `channels` 1 or 3 decides which, 0 keeps what it is.

    Raises:
      CorruptImage: if it is cut short or broken, with its name.
    """
    try:
        grey = channels == 1 or (channels == 0 and picture.mode in _GREY_MODES)
        mode = 'L' if grey else 'RGB'
        if picture.mode != mode:
            return picture.convert(mode)
        picture.load()
        return picture  # as it is: `convert` would copy
    except Exception as error:  # likewise
        raise _corrupt(name, error) from error


def _corrupt(name: str, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f'{name} cannot be read: {error.strerror}')
    return CorruptImage(f'{name} is no image that can be decoded: {error}')


def as_array(picture: Image.Image) -> np.ndarray:
    """A Pillow image as uint8 `[height, width, channels]`."""
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def as_picture(array: np.ndarray) -> Image.Image:
    """uint8 `[height, width, 1 or 3]` as a Pillow image."""
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def read_image(file: Path) -> np.ndarray:
    """An image file as uint8 `[height, width, channels]`, grey or RGB; the EXIF orientation is ignored.

    Raises:
      CorruptImage: if the file is no image or is cut short, with its path.
    """
    with opened(file, str(file)) as picture:
        return as_array(decoded(picture, str(file)))


@dataclass(frozen=True)
class Arrays:
    """Images in memory, uint8 `[n, height, width(, channels)]`."""

    images: np.ndarray

    def array(self, index: int) -> np.ndarray:
        image = self.images[index]
        return image[..., None] if image.ndim == 2 else image

    def picture(self, index: int) -> Image.Image:
        return as_picture(self.array(index))


@dataclass(frozen=True)
class Files:
    """Image files."""

    paths: Sequence[Path]

    def array(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def picture(self, index: int) -> Image.Image:
        return opened(self.paths[index], str(self.paths[index]))


@dataclass
class Tfds:
    """A split of a TFDS set prepared as array_record; opened again in each process that reads it."""

    name: str
    data_dir: str | None
    part: str
    rows: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'rows': None}

    def _rows(self) -> Any:
        if self.rows is None:
            import tensorflow_datasets as tfds

            builder: Any = tfds.builder(self.name, data_dir=self.data_dir)
            self.rows = builder.as_data_source(split=self.part)
        return self.rows

    def array(self, index: int) -> np.ndarray:
        return self._rows()[index]['image']

    def picture(self, index: int) -> Image.Image:
        rows = self._rows()
        if not hasattr(rows, 'data_source'):
            return as_picture(self.array(index))
        from tensorflow_datasets.core import decode

        row = rows.dataset_info.features.deserialize_example_np(
            rows.data_source[index], decoders={'image': decode.SkipDecoding()}
        )
        return opened(bytes(row['image']), f'tfds:{self.name}[{self.part}] number {index}')


@dataclass(frozen=True)
class Selected:
    """Some images of another reader."""

    inner: Reader
    indices: np.ndarray

    def array(self, index: int) -> np.ndarray:
        return self.inner.array(int(self.indices[index]))

    def picture(self, index: int) -> Image.Image:
        return self.inner.picture(int(self.indices[index]))


@dataclass(frozen=True)
class Fitted:
    """Arrays of another reader brought to one size, channel count and border; pictures as they are."""

    inner: Reader
    image_size: int
    channels: int
    pad: int

    def array(self, index: int) -> np.ndarray:
        image = self.inner.array(index)
        if self.channels == 3 and image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        elif self.channels == 1 and image.shape[-1] == 3:
            image = np.asarray(Image.fromarray(image).convert('L'))[..., None]
        if self.image_size and image.shape[:2] != (self.image_size, self.image_size):
            image = _resize_and_crop(image, self.image_size)
        pad = self.pad
        return np.pad(image, ((pad, pad), (pad, pad), (0, 0))) if pad else image

    def picture(self, index: int) -> Image.Image:
        return self.inner.picture(index)


def _resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = size / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))
    picture = as_picture(image).resize(shape, Image.Resampling.BICUBIC)
    left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
    return as_array(picture.crop((left, top, left + size, top + size)))
