"""Folders of array_record shards that `python -m selfsup.pack` writes: encoded images, their labels and names.

A folder holds `<part>-00000.array_record` … with one encoded image a record, `<part>-labels.npy`, and
`meta.json` with class names, counts and a fingerprint of the content.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import UserError
from .readers import as_array, decoded, opened

META = 'meta.json'


@dataclass
class Records:
    """Encoded images in array_record files; opened again in each process that reads them."""

    paths: tuple[str, ...]
    source: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'source': None}

    def _bytes(self, index: int) -> bytes:
        if self.source is None:
            from array_record.python.array_record_data_source import ArrayRecordDataSource

            self.source = ArrayRecordDataSource(list(self.paths))
        return self.source[index]

    def picture(self, index: int) -> Image.Image:
        return opened(self._bytes(index), f'image {index} of {self.paths[0]} and following')

    def array(self, index: int) -> np.ndarray:
        with self.picture(index) as picture:
            return as_array(decoded(picture, f'image {index} of {self.paths[0]} and following'))


class Part(NamedTuple):
    """One part, train or test, of a packed folder."""

    reader: Records
    labels: np.ndarray
    class_names: tuple[str, ...]
    fingerprint: str


def open_part(folder: Path, part: str) -> Part:
    """The train or test part of a packed folder.

    Raises:
      UserError: if the folder is none, or is not whole.
    """
    try:
        meta = json.loads((folder / META).read_text())
        entry = meta['parts'][part]
        labels = np.load(folder / f'{part}-labels.npy', allow_pickle=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'{folder} holds no packed {part} images ({type(error).__name__}: {error}); selfsup.pack makes them'
        ) from error
    paths = tuple(str(folder / name) for name in entry['files'])
    missing = [p for p in paths if not Path(p).is_file()]
    if missing or len(labels) != entry['count']:
        what = f'{missing[0]} is missing' if missing else f'{len(labels)} labels for {entry["count"]} images'
        raise UserError(f'{folder} is not whole: {what}; pack it again')
    return Part(Records(paths), labels, tuple(meta['class_names']), entry['fingerprint'])
