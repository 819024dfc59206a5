"""Random-access sources of `{input, label}` with a fingerprint: one file a kind, one row of :data:`KINDS` each."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...errors import UserError, nearest
from ...files import expanded, folder_exists, printable
from ..pictures import Treatment
from ..readers import Tfds
from . import blank, digits, features, folder, listing, npz, shapes, shards, tfds, vectors
from .arrays import from_arrays, from_rows, integers, renumbered
from .base import Options, Source, Spec, check_labels, first_of_each_class, fitted, readable, split, treated

__all__ = [
    'KINDS',
    'Options',
    'Source',
    'Spec',
    'Treatment',
    'check_labels',
    'first_of_each_class',
    'fitted',
    'from_arrays',
    'from_rows',
    'integers',
    'open_source',
    'readable',
    'renumbered',
    'shared_rows',
    'split',
    'treated',
]


class Kind(NamedTuple):
    """How a kind of source is written, and what opens it: `(text after the colon, options) -> (train, test)`."""

    usage: str
    open: Callable[[str, Options], tuple[Source, Source]]


KINDS = {
    'digits': Kind('digits', digits.open_digits),
    'tfds': Kind('tfds:<name>', tfds.open_tfds),
    'npz': Kind('npz:<file>', npz.open_npz),
    'folder': Kind('folder:<path>', folder.open_folder),
    'list': Kind('list:<file>', listing.open_list),
    'shards': Kind('shards:<folder>', shards.open_shards),
    'features': Kind('features:<npz>', features.open_features),
    'vectors': Kind('vectors:<name>', vectors.open_vectors),
    'shapes': Kind('shapes:<images>', shapes.open_shapes),
    'blank': Kind('blank:<images>x<height>x<width>x<channels>/<classes>', blank.open_blank),
}


def open_source(spec: str, *, data_dir: str = '', test_fraction: float = 0.2) -> tuple[Source, Source]:
    """The train and test sources of a kind of :data:`KINDS`, as `digits`, `npz:<file>` or `folder:<path>`.

    Where only one class occurs there are no labels.

    Args:
      spec: what to open.
      data_dir: where TFDS keeps data sets; '' is its default (or $TFDS_DATA_DIR).
      test_fraction: share set apart, class by class, where there is no test split.

    Raises:
      UserError: when it cannot be opened, saying why.
    """
    name, colon, rest = spec.partition(':')
    kind = KINDS.get(name)
    if kind is None or bool(rest) != (':' in kind.usage) or bool(colon) != bool(rest):
        raise UserError(f'data.source={spec!r} is unknown{_meant(spec)}')
    train, test = kind.open(rest, Options(data_dir, test_fraction))
    occurring = np.unique(np.concatenate([train.labels, test.labels]))
    if (occurring >= 0).sum() == 1:
        note = f'{spec} has one class alone ({train.class_names[occurring[-1]]}), which is no label'
        train, test = (part.unlabelled().replace(notes=(*part.notes, note)) for part in (train, test))
    elif notes := _odd_classes(spec, train, test):
        train = train.replace(notes=(*train.notes, *notes))
    return train, test


def _meant(spec: str) -> str:
    """What someone may have meant who wrote a source without its kind."""
    path = expanded(spec)
    if folder_exists(path):
        return f'; did you mean folder:{spec}?'
    if os.path.isfile(path):
        kind = 'npz' if path.suffix.lower() == '.npz' else 'list'
        return f'; did you mean {kind}:{spec}?'
    close = nearest(spec, [kind.usage for kind in KINDS.values()])
    if close.startswith('; known are') and re.fullmatch(r'[a-z][\w/]*', spec):
        return f'; did you mean tfds:{spec}?'
    return close


def _odd_classes(spec: str, train: Source, test: Source) -> list[str]:
    """Notes on classes that the test alone has, and on those whose names differ by case or spaces at most."""
    notes, names = [], test.class_names or train.class_names
    learned, asked = (np.unique(part.labels[part.labels >= 0]) for part in (train, test))
    strange = np.setdiff1d(asked, learned)
    if len(strange) and (train.labels >= 0).all():  # of partly labelled rows it is not known
        count = int(np.isin(test.labels, strange).sum())
        shown = ', '.join(printable(names[label]) for label in strange[:3])
        notes.append(f'{spec}: {count} of {len(test)} test rows are of classes that are not in train ({shown})')
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(name.strip().casefold(), name)
        if other != name:
            notes.append(f'{spec}: {other!r} and {name!r} are two classes')
            break
    return notes


def shared_rows(first: Source, second: Source) -> list[str]:
    """Names of rows of the second that the first holds too, where rows have names: files, and rows of TFDS splits.

    Links are followed. Two selections of one TFDS set that name a split in common share all of it.
    """
    one, other = _tfds_splits(first), _tfds_splits(second)
    common = sorted(one[1] & other[1])
    if one[0] == other[0] and common and one[2] != other[2]:
        return [f'{one[0]}[{name}]' for name in common]
    names = {os.path.realpath(n) for n in _names(first)}
    return [n for n in _names(second) if os.path.realpath(n) in names]


def _names(source: Source) -> list[str]:
    return [name for name in (source.reader.name(i) for i in range(len(source))) if name]


def _tfds_splits(source: Source) -> tuple[str, set[str], str]:
    """Name of a TFDS set, the splits read, and the text that chose them; ('', nothing, '') of other kinds."""
    reader = source.reader
    while hasattr(reader, 'inner'):
        reader = reader.inner
    if not isinstance(reader, Tfds):
        return '', set(), ''
    return f'tfds:{reader.dataset}', tfds.split_names(reader.part), reader.part
