"""Features in an npz file, as `python -m selfsup.embed` writes it."""

from typing import Any

import numpy as np

from ...errors import UserError
from ...files import expanded, mapped_arrays, read_arrays
from .arrays import from_mapped, from_rows, integers, renumbered, standardised, unread
from .base import Options, Source, split

# Bytes of a file up to which its rows are held in memory; those of a larger one are read as they are needed.
IN_MEMORY = 2**30
# What `selfsup.embed` writes besides, for who reads its files.
BESIDE = ('origin', *(f'{part}{name}' for part in ('train_', 'test_', '') for name in ('index', 'files')))


def open_features(path: str, options: Options) -> tuple[Source, Source]:
    """float32 rows `[dim]`, or of any higher rank, standardised by the statistics of train.

    The file holds `train_features` `[n, ...]`, `train_labels`, `test_features`, `test_labels` and `class_names`; labels
    and names may be missing. Without test features the test set is set apart from the others. Rows of a file above
    :data:`IN_MEMORY` that is not compressed and has test features stay in the file.
    """
    name, file = f'features:{path}', expanded(path)
    large = file.is_file() and file.stat().st_size > IN_MEMORY
    arrays = (mapped_arrays if large else read_arrays)(file, f'data.source={name}')
    train, test = arrays.get('train_features'), arrays.get('test_features')
    if train is None:
        raise UserError(
            f'{path} holds {", ".join(arrays) or "nothing"}; it needs train_features (and train_labels, test_features, '
            f'test_labels, class_names){"; call features and labels so" if "features" in arrays else ""}'
        )
    tested = ('test_features', 'test_labels') if test is not None else ()
    known = ('train_features', 'train_labels', *tested, 'class_names')
    notes = unread(name, arrays, (*known, *BESIDE), f'arrays are called {", ".join(known)}')
    for part, rows in (('train', train), ('test', test)):
        if rows is None:
            continue
        if not np.issubdtype(rows.dtype, np.floating) or rows.ndim < 2 or 0 in rows.shape:
            raise UserError(f'{name}: {part}_features must be floats [n, dim], not {rows.dtype} {list(rows.shape)}')
        if rows.shape[1:] != train.shape[1:]:
            raise UserError(
                f'{name}: test_features have rows of {list(rows.shape[1:])}, train_features of {list(train.shape[1:])}'
            )
    labels = integers(arrays.get('train_labels'), len(train), name)
    test_labels = integers(arrays.get('test_labels'), 0 if test is None else len(test), f'{name}[test]')
    (labels, test_labels), names = renumbered(labels, test_labels)
    names = _named(name, arrays.get('class_names'), names)
    if test is None:
        raw = from_rows(name, train, labels, names).replace(notes=notes)
        return parted(raw, options.test_fraction)
    maps = [rows for rows in (train, test) if isinstance(rows, np.memmap) and rows.flags.c_contiguous]
    if len(maps) == 2:
        first, second = from_mapped(name, maps[0], maps[1], (labels, test_labels), names)
        return first.replace(notes=notes), second
    train, test = standardised(train, test)
    first, second = from_rows(name, train, labels, names), from_rows(f'{name}[test]', test, test_labels, names)
    return first.replace(notes=notes), second


def parted(source: Source, fraction: float) -> tuple[Source, Source]:
    """A source of rows cut into train and test, both standardised by the statistics of train."""
    parts = split(source, fraction, seed=0, parts=('train', 'test'))
    rows = standardised(*(part.images() if len(part) else source.images()[:0] for part in parts))
    train, test = (
        from_rows(part.name, values, part.labels, part.class_names).replace(notes=part.notes)
        for part, values in zip(parts, rows, strict=True)
    )
    return train, test


def _named(name: str, given: Any, numbers: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes that occur: of `class_names` where the file has them, else their numbers."""
    if given is None or not numbers or given.shape == (0,):
        return numbers
    most = max(map(int, numbers))
    if given.ndim != 1 or given.dtype.kind not in 'US' or most >= len(given):
        raise UserError(
            f'{name}: class_names must hold one name for each label, and labels reach to {most}; it is '
            f'{given.dtype} {list(given.shape)}'
        )
    texts = [one.decode(errors='backslashreplace') if isinstance(one, bytes) else str(one) for one in given.tolist()]
    return tuple(texts[int(n)] for n in numbers)
