"""Folders of array_record shards that `python -m selfsup.pack` writes: encoded images, their labels and names.

A folder holds `<part>-00000.array_record` … with one encoded image a record, `<part>-labels.npy`, and
`meta.json` with class names, counts and a fingerprint of the content.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import UserError
from ..files import read_array, read_json
from .pictures import CorruptImage, as_array, decoded, opened

META = 'meta.json'


@dataclass
class Records:
    """Encoded images in array_record files; opened again in each process that reads them."""

    paths: tuple[str, ...]
    source: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'source': None}

    def _bytes(self, index: int) -> bytes:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        # The library raises RuntimeError, ValueError or IndexError, as a file is cut short or its bytes are wrong.
        try:
            self.source = self.source or ArrayRecordDataSource(list(self.paths))
            return self.source[index]
        except (RuntimeError, ValueError, IndexError) as error:
            raise CorruptImage(f'{self.name(index)} cannot be read: {error}') from error

    def name(self, index: int) -> str:
        return f'image {index} of {self.paths[0]} and following'

    def picture(self, index: int) -> Image.Image:
        return opened(self._bytes(index), self.name(index))

    def array(self, index: int) -> np.ndarray:
        with self.picture(index) as picture:
            return as_array(decoded(picture, self.name(index)))


class Part(NamedTuple):
    """One part, train or test, of a packed folder."""

    reader: Records
    labels: np.ndarray
    class_names: tuple[str, ...]
    fingerprint: str


def check_name(folder: Path) -> None:
    """Refuses a folder whose path is no UTF-8, which array_record can neither write nor read."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UserError(f'{folder} is no UTF-8, and shards cannot lie under such a name; rename it') from error


def open_part(folder: Path, part: str) -> Part:
    """The train or test part of a packed folder.

    Raises:
      UserError: if the folder is none, or is not whole.
    """
    check_name(folder)
    if not (folder / META).is_file():
        raise UserError(f'{folder} holds no packed images: it has no {META}; selfsup.pack makes them')
    meta = read_json(folder / META)
    parts = meta.get('parts')
    entry = parts.get(part) if isinstance(parts, dict) else None
    if not isinstance(entry, dict):
        raise UserError(f'{folder / META} names no packed {part} images; selfsup.pack makes them')
    names: Any = meta.get('class_names')
    files: Any = entry.get('files')
    plain = all(isinstance(texts, list) and all(isinstance(t, str) for t in texts) for texts in (names, files))
    # A file is named alone: an index that came with data must not reach out of its folder.
    if not plain or not files or any(Path(name).name != name for name in files):
        raise UserError(f'{folder / META} is damaged: class_names and files of {part} must be lists of names')
    if not isinstance(entry.get('fingerprint'), str):
        raise UserError(f'{folder / META} is damaged: {part} has no fingerprint')
    labels = read_array(folder / f'{part}-labels.npy')
    if labels.ndim != 1 or labels.dtype != np.int32:
        raise UserError(f'{folder}/{part}-labels.npy is damaged: it must hold one int32 an image')
    if len(labels) and not -1 <= labels.min() <= labels.max() < max(len(names), 1):
        raise UserError(f'{folder}/{part}-labels.npy is damaged: it holds labels of no class of {META}')
    paths = tuple(str(folder / name) for name in files)
    missing = [p for p in paths if not Path(p).is_file()]
    if missing or len(labels) != entry.get('count'):
        what = f'{missing[0]} is missing' if missing else f'{len(labels)} labels for {entry.get("count")} images'
        raise UserError(f'{folder} is not whole: {what}; pack it again')
    return Part(Records(paths), labels, tuple(names), entry['fingerprint'])
