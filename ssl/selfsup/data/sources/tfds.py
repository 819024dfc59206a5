"""Sets of TensorFlow Datasets, read from array_record without TensorFlow."""

import os
import re
from typing import Any, NamedTuple

import numpy as np

from ...errors import UserError, nearest
from ..readers import Tfds
from .arrays import renumbered
from .base import Options, Source, digest, split

TEST_SPLITS = ('test', 'validation')


class Text(NamedTuple):
    """The parts of `<name>[<splits>]:<image key>`; splits and key may be missing."""

    dataset: str
    splits: str
    key: str


def parse(text: str) -> Text:
    """`stl10[train+unlabelled]:image` cut into name, splits to train on and key of the images."""
    match = re.fullmatch(r'([^\[\]]+)(?:\[(.+)\](?::(\w+))?)?', text)
    if not match:
        raise UserError(f'data.source=tfds:{text} is unknown; it is written tfds:<name>[<splits>]:<image key>')
    return Text(match[1], match[2] or '', match[3] or 'image')


def split_names(text: str) -> set[str]:
    """The splits that an expression reads from, whole or in part: train and test of `train[:80%]+test`."""
    return set(re.findall(r'[A-Za-z_]\w*', re.sub(r'\[[^\]]*\]', '', text)))


def open_tfds(text: str, options: Options) -> tuple[Source, Source]:
    """A set by its name, with the splits to train on and the key of its images where they are given.

    The test set is the first of `test` and `validation` that is not trained on. Without one,
    `data.test_fraction` of what would be trained on is set apart.
    """
    want = parse(text)
    builder = _builder(want, options.data_dir)
    info = builder.info
    if want.key not in info.features:
        raise UserError(
            f'tfds:{want.dataset} has no {want.key!r}; it has {", ".join(info.features)}; name the images as '
            f'tfds:{want.dataset}[train]:<key>'
        )
    named = split_names(want.splits) or {'train'}
    unknown = sorted(named - set(info.splits) - {'all'})
    if unknown:
        missing = unknown[0]
        raise UserError(
            f'tfds:{want.dataset} has no split {missing!r}{nearest(missing, info.splits)}; name the splits to train on '
            f'as tfds:{want.dataset}[{"+".join(sorted(set(info.splits) - set(TEST_SPLITS)) or info.splits)}]'
        )
    test = next((s for s in TEST_SPLITS if s in info.splits and s not in named and 'all' not in named), None)
    train: Any = _source(builder, want, options, want.splits or 'train')
    if test is not None:
        first, second = _numbered(train, _source(builder, want, options, test))
        return first, second
    train, test_part = split(_numbered(train)[0], options.test_fraction, seed=0, parts=('train', 'test'))
    note = f'{train.name}: no test or validation split beside it; {len(test_part)} images are set apart for the test'
    return train.replace(notes=(*train.notes, note)), test_part


def _builder(want: Text, data_dir: str) -> Any:
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # else it recommends OpenCV at every start
    name = want.dataset
    try:
        builder: Any = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(f'tfds:{name} is unknown{nearest(name.split("/")[0].split(":")[0], known)}') from error
    except Exception as error:
        if re.search(r'/\d+\.\d+\.\d+$', name):
            raise UserError(
                f'tfds:{name} cannot be opened: a version stands behind a colon, tfds:{":".join(name.rsplit("/", 1))}'
            ) from error
        why = re.sub(r'^Failed to construct dataset .*?\}": ', '', str(error), flags=re.DOTALL)
        raise UserError(f'tfds:{name} cannot be opened: {why}') from error
    try:
        if not builder.is_prepared():
            builder.download_and_prepare(file_format='array_record')
    except Exception as error:
        where = builder.data_dir
        raise UserError(f'tfds:{name} is not in {where} and could not be prepared: {type(error).__name__}') from error
    return builder


def _source(builder: Any, want: Text, options: Options, part: str) -> tuple[Source, np.ndarray]:
    """One part, its labels still unset, and its labels as the set numbers them."""
    name, info = want.dataset, builder.info
    try:
        rows: Any = builder.as_data_source(split=part)
    except Exception as error:
        raise UserError(
            f'tfds:{name}[{part}] in {builder.data_dir} cannot be read: the splits do not fit, or it was not prepared '
            f"with file_format='array_record' ({type(error).__name__})"
        ) from error
    if len(rows) == 0:
        raise UserError(f'tfds:{name} has an empty split {part}')
    labels = _labels(rows, want.key) if 'label' in info.features else None
    notes = []
    if labels is not None and (labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer)):
        notes.append(f'tfds:{name}: its label is no single integer, and is left out')
        labels = None
    others = [n for n, feature in info.features.items() if hasattr(feature, 'num_classes')]
    if 'label' not in info.features and others:
        notes.append(f'tfds:{name}: no feature is called label, and {", ".join(others)} is not read')
    numbers = np.full(len(rows), -1, np.int32) if labels is None else labels
    names = None if labels is None else getattr(info.features['label'], 'names', None)
    other = '' if want.key == 'image' else f' {want.key}'
    fingerprint = digest(f'{info.full_name} {part} {len(rows)}{other}'.encode(), numbers.astype(np.int32).tobytes())
    reader = Tfds(name, os.path.expanduser(options.data_dir) or None, part, want.key, rows)
    unset = np.full(len(rows), -1)
    return Source(f'tfds:{name}[{part}]', reader, unset, names or (), fingerprint, notes=notes), numbers


def _numbered(*parts: tuple[Source, np.ndarray]) -> tuple[Source, ...]:
    """The parts with their labels, counted from 0 over all of them where the set has no names for them."""
    numbers, names = [n for _, n in parts], parts[0][0].class_names
    if not names:
        numbers, names = renumbered(*numbers)
    return tuple(source.replace(labels=n, class_names=names) for (source, _), n in zip(parts, numbers, strict=True))


def _labels(rows: Any, key: str) -> np.ndarray:
    """Labels alone, without decoding the images."""
    if not hasattr(rows, 'data_source'):
        return np.array([rows[i]['label'] for i in range(len(rows))])
    from tensorflow_datasets.core import decode

    parse_row, skip = rows.dataset_info.features.deserialize_example_np, {key: decode.SkipDecoding()}
    return np.array([parse_row(row, decoders=skip)['label'] for row in rows.data_source.__getitems__(range(len(rows)))])
