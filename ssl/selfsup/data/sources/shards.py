"""Folders that `python -m selfsup.pack` wrote."""

from ...files import expanded
from .. import shards
from .base import Options, Source, digest


def open_shards(path: str, options: Options) -> tuple[Source, Source]:
    """The train and test parts of a packed folder: see :mod:`selfsup.data.shards`."""
    return _part(path, 'train'), _part(path, 'test')


def _part(path: str, part: str) -> Source:
    packed = shards.open_part(expanded(path), part)
    fingerprint = digest(packed.fingerprint.encode())
    return Source(f'shards:{path}[{part}]', packed.reader, packed.labels, packed.class_names, fingerprint)
