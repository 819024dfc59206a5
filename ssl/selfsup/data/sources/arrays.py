"""Sources over arrays in memory: images, and rows of floats."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...files import printable
from ..pictures import as_uint8
from ..readers import Arrays, Mapped
from .base import Source, check_labels, digest

MOST_CHANNELS = 4  # of images with a side of 1 or 3 pixels: with more, that side is the channels, as torch has them
BLOCK = 2**14  # rows of a file that are in memory together


def integers(labels: Any, count: int, name: str) -> np.ndarray:
    """Labels `[n]` or `[n, 1]` of a file as int64 or uint64 of at least −1; −1 for all where there are none."""
    if labels is None:
        return np.full(count, -1)
    labels = np.asarray(labels)
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or len(labels) != count:
        hint = '; labels.argmax(1) numbers one-hot rows' if labels.ndim == 2 and len(labels) == count else ''
        raise UserError(f'{name}: {count} images and labels of shape {list(labels.shape)} do not match{hint}')
    if not np.issubdtype(labels.dtype, np.integer):
        way = (
            'np.unique(labels, return_inverse=True)[1]'
            if labels.dtype.kind in 'US'
            else 'labels.astype(int), where they are whole,'
        )
        raise UserError(f'{name}: labels must be integers, not {labels.dtype}; {way} gives such')
    if len(labels) and labels.min() < -1:
        raise UserError(f'{name}: labels must be -1 (unknown) or number a class, and reach down to {labels.min()}')
    return labels if labels.dtype == np.uint64 else labels.astype(np.int64)


def renumbered(*parts: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Labels of several parts counted from 0 over all of them, and the old numbers as names of the classes.

    Numbers with gaps (identifiers of products, of taxa) would otherwise count as many classes as the largest.
    """
    # As uint64, which holds every number of a class: of int64 and uint64 NumPy would make float64, and merge numbers.
    known = np.unique(np.concatenate([p[p >= 0].astype(np.uint64) for p in parts]))
    found = [np.where(p >= 0, np.searchsorted(known, p.astype(np.uint64)), -1) for p in parts]
    return found, tuple(str(c) for c in known)


def unread(name: str, arrays: Iterable[str], known: Iterable[str], wanted: str) -> list[str]:
    """A note on arrays of a file that nothing reads, or none: labels under another name would be missed unsaid."""
    rest = sorted(set(arrays) - set(known))
    return [f'{name}: {", ".join(map(printable, rest))} is not read; {wanted}'] if rest else []


def from_arrays(
    name: str, images: np.ndarray, labels: np.ndarray | None, class_names: Sequence[str] = (), notes: Sequence[str] = ()
) -> Source:
    """A source over images in memory.

    Args:
      name: of the source.
      images: `[n, height, width(, channels)]`, uint8, uint16 or floats in [0, 1]: see :func:`.pictures.as_uint8`.
      labels: integers `[n]`, or None. Without `class_names` they are renumbered from 0, and their numbers are names.
      class_names: the name of each label.
      notes: see :class:`Source`.

    Raises:
      UserError: naming what does not fit.
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise UserError(
            f'{name}: images must be of shape [n, height, width] or [n, height, width, channels], '
            f'not {images.dtype} {list(images.shape)}'
        )
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] > MOST_CHANNELS:
        raise UserError(
            f'{name}: images {list(images.shape)} would be {images.shape[1]} x {images.shape[2]} pixels of '
            f'{images.shape[3]} channels: their channels seem to come first; np.moveaxis(images, 1, -1) puts them last'
        )
    if images.dtype != np.uint8:
        rule = '255 v, rounded' if np.issubdtype(images.dtype, np.floating) else 'v >> 8'
        notes = (*notes, f'{name}: {images.dtype.name} images are scaled to 8 bits as {rule}')
        images = as_uint8(images, name)
    given = integers(labels, len(images), name)
    fingerprint = digest(np.ascontiguousarray(images).tobytes(), narrow(given).tobytes())
    (numbers,), names = ([given], tuple(class_names)) if len(class_names) else renumbered(given)
    check_labels(numbers, name)
    rows = images[..., None] if images.ndim == 3 else images
    return Source(name, Arrays(rows), numbers, names if labels is not None else (), fingerprint, notes=notes)


def narrow(labels: np.ndarray) -> np.ndarray:
    """Labels as int32, in which they enter a fingerprint, or as 64 bits where they need it."""
    fits = not len(labels) or labels.max() < 2**31
    return labels.astype(np.int32) if fits else labels


def from_rows(name: str, rows: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Source:
    """A source over float32 rows in memory: vectors `[n, dim]`, series `[n, time, channels]`.

    Args:
      name: of the source.
      rows: finite numbers `[n, ...]`.
      labels: `[n]`, from 0, −1 where unknown.
      class_names: one name a class.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows.reshape(len(rows), -1)).all(1)).sum())
        raise UserError(f'{name}: {bad} of {len(rows)} rows hold numbers that are not finite')
    fingerprint = digest(rows.tobytes(), labels.astype(np.int32).tobytes())
    return Source(name, Arrays(rows), labels, class_names, fingerprint)


def _scale(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """What coordinates are divided by: 1 for one that does not vary but for rounding."""
    return np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)


def standardised(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Arrays `[n, ...]` less the mean of `train` and over its standard deviation, coordinate by coordinate, float32.

    A coordinate that does not vary in `train` is centred and not divided.
    """
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = _scale(mean, deviation)
    return [((part - mean) / scale).astype(np.float32) for part in (train, *others)]


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 0) of rows `[n, ...]`, float64, :data:`BLOCK` rows at a time."""
    starts = range(0, len(rows), BLOCK)
    total, squares = (np.zeros(rows.shape[1:]) for _ in range(2))
    for start in starts:
        total += rows[start : start + BLOCK].sum(0, dtype=np.float64)
    mean = total / len(rows)
    for start in starts:
        squares += ((rows[start : start + BLOCK] - mean) ** 2).sum(0)
    return mean, np.sqrt(squares / len(rows))


def from_mapped(
    name: str, train: np.memmap, other: np.memmap, labels: Sequence[np.ndarray], class_names: Sequence[str]
) -> tuple[Source, Source]:
    """Sources over float rows that stay in a file, both standardised by the statistics of the first.

    Args:
      name: of the source.
      train, other: memory maps `[n, ...]` in C order.
      labels: of both.
      class_names: one name a class.

    Raises:
      UserError: rows that are not finite.
    """
    mean, deviation = moments(train)
    scale = _scale(mean, deviation)
    found = []
    for part, rows, numbers in zip((name, f'{name}[test]'), (train, other), labels, strict=True):
        reader = Mapped(Path(str(rows.filename)), rows.dtype, rows.shape, rows.offset, mean, scale)
        total, bad = hashlib.sha256(), 0
        for start in range(0, len(rows), BLOCK):
            block = reader.block(slice(start, start + BLOCK))
            bad += int((~np.isfinite(block.reshape(len(block), -1)).all(1)).sum())
            total.update(block.tobytes())
        if bad:
            raise UserError(f'{part}: {bad} of {len(rows)} rows hold numbers that are not finite')
        total.update(numbers.astype(np.int32).tobytes())
        found.append(Source(part, reader, numbers, class_names, total.hexdigest()[:16]))
    return found[0], found[1]
