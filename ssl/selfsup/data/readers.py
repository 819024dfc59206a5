"""How the rows of a source are read: small objects that a worker process can be given, without jax.

A reader has `array(i)`, the row as an array, of images uint8 `[height, width, channels]`; for images `picture(i)`, the
same image in full size as a Pillow image, not decoded yet where it comes from a file; and `name(i)`, the file or place
of the row, '' where it has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..errors import UserError
from .pictures import Treatment, as_array, as_picture, as_uint8, decoded, opened, read_image


class Reader(Protocol):
    """What a source reads with."""

    def array(self, index: int) -> np.ndarray: ...

    def picture(self, index: int) -> Image.Image: ...

    def name(self, index: int) -> str: ...


def called(reader: Reader, index: int) -> str:
    """A row in a sentence: its number, and its file where it has one."""
    name = reader.name(index)
    return f'number {index} ({name})' if name else f'number {index}'


@dataclass(frozen=True)
class Arrays:
    """Rows in memory, `[n, ...]`: images uint8 `[n, height, width, channels]`, vectors float32 `[n, dim]`, ..."""

    rows: np.ndarray

    def array(self, index: int) -> np.ndarray:
        return self.rows[index]

    def picture(self, index: int) -> Image.Image:
        return as_picture(self.array(index))

    def name(self, index: int) -> str:
        return ''


@dataclass
class Mapped:
    """Rows of an array in a file, less a mean and over a scale, float32; opened again in each process that reads it."""

    file: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    mean: np.ndarray
    scale: np.ndarray
    _rows: Any = None

    def block(self, rows: slice) -> np.ndarray:
        """Several rows together."""
        if self._rows is None:
            self._rows = np.memmap(self.file, self.dtype, 'r', self.offset, self.shape)
        return ((self._rows[rows] - self.mean) / self.scale).astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_rows': None}  # a pickled map is a copy of all of it

    def array(self, index: int) -> np.ndarray:
        return self.block(slice(index, index + 1))[0]

    def picture(self, index: int) -> Image.Image:
        return as_picture(self.array(index))

    def name(self, index: int) -> str:
        return ''


@dataclass(frozen=True)
class Files:
    """Image files."""

    paths: Sequence[Path]

    def array(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def picture(self, index: int) -> Image.Image:
        return opened(self.paths[index], self.name(index))

    def name(self, index: int) -> str:
        return str(self.paths[index])


@dataclass
class Tfds:
    """A split of a TFDS set prepared as array_record; opened again in each process that reads it."""

    dataset: str
    data_dir: str | None
    part: str
    key: str = 'image'
    rows: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'rows': None}

    def _rows(self) -> Any:
        if self.rows is None:
            import tensorflow_datasets as tfds

            builder: Any = tfds.builder(self.dataset, data_dir=self.data_dir)
            self.rows = builder.as_data_source(split=self.part)
        return self.rows

    def array(self, index: int) -> np.ndarray:
        return as_uint8(np.asarray(self._rows()[index][self.key]), self.name(index))

    def picture(self, index: int) -> Image.Image:
        rows = self._rows()
        if not hasattr(rows, 'data_source'):
            return as_picture(self.array(index))
        from tensorflow_datasets.core import decode

        row = rows.dataset_info.features.deserialize_example_np(
            rows.data_source[index], decoders={self.key: decode.SkipDecoding()}
        )
        return opened(bytes(row[self.key]), self.name(index))

    def name(self, index: int) -> str:
        return f'tfds:{self.dataset}[{self.part}] number {index}'


@dataclass(frozen=True)
class Selected:
    """Some rows of another reader."""

    inner: Reader
    indices: np.ndarray

    def array(self, index: int) -> np.ndarray:
        return self.inner.array(int(self.indices[index]))

    def picture(self, index: int) -> Image.Image:
        return self.inner.picture(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.inner.name(int(self.indices[index]))


@dataclass(frozen=True)
class Treated:
    """Images of another reader with their alpha blended or turned upright: see :class:`.pictures.Treatment`."""

    inner: Reader
    treatment: Treatment

    def array(self, index: int) -> np.ndarray:
        name = self.name(index)
        with self.picture(index) as picture:
            return as_array(decoded(picture, name))

    def picture(self, index: int) -> Image.Image:
        return self.treatment(self.inner.picture(index), self.name(index))

    def name(self, index: int) -> str:
        return self.inner.name(index)


@dataclass(frozen=True)
class Fitted:
    """Arrays of another reader brought to one size, channel count and border; pictures as they are.

    Raises:
      UserError: on reading, where `channels` is asked of images that are neither grey nor RGB.
    """

    inner: Reader
    image_size: int
    channels: int
    pad: int
    source: str = ''  # for messages

    def array(self, index: int) -> np.ndarray:
        image = self.inner.array(index)
        if image.ndim != 3:
            raise UserError(
                f'{self.source}: data.image_size, channels and pad are of images [height, width, channels], and a row '
                f'has the shape {list(image.shape)}; leave them at 0'
            )
        if self.channels and image.shape[-1] not in (1, 3):
            raise UserError(
                f'{self.source}: data.channels={self.channels} converts images of 1 or 3 channels, and these have '
                f'{image.shape[-1]}; leave it at 0, or store the channels to be seen alone'
            )
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

    def name(self, index: int) -> str:
        return self.inner.name(index)


# Pixels of a resized image from which only its middle is: a strip of 1 x 60,000 brought to 224 would take gigabytes.
MOST_RESIZED = 2**26


def _resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[-1] not in (1, 3):  # Pillow would take a fourth channel for alpha, and weigh the others by it
        planes = [_resize_and_crop(image[..., c : c + 1], size) for c in range(image.shape[-1])]
        return np.concatenate(planes, axis=-1)
    height, width = image.shape[:2]
    scale = size / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))
    enough = 8 * min(height, width) + 8  # far more of a strip than the resampling of its middle reaches
    if shape[0] * shape[1] > MOST_RESIZED and max(height, width) > enough:
        top, left = ((side - min(side, enough)) // 2 for side in (height, width))
        return _resize_and_crop(image[top : top + enough, left : left + enough], size)
    picture = as_picture(image).resize(shape, Image.Resampling.BICUBIC)
    left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
    return as_array(picture.crop((left, top, left + size, top + size)))
