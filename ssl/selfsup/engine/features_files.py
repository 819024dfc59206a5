"""Features in npz files, as `selfsup.embed` or any other program writes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.sources import integers, renumbered
from ..errors import UserError, nearest
from ..evals import Features
from ..files import read_arrays


def read_features(files: Sequence[str], option: str = '--features') -> tuple[Features, Features]:
    """Train and test features of two npz files, or of the one that `selfsup.embed` writes; `option` named them."""
    if len(files) not in (1, 2):
        raise UserError(f'{option} takes a file for train and one for test, or one of selfsup.embed, not {len(files)}')
    prefixes = ('', '') if len(files) == 2 else ('train_', 'test_')
    found = []
    for file, prefix in zip(files if len(files) == 2 else [*files, *files], prefixes, strict=True):
        arrays = read_arrays(Path(file), f'{option}: {file}')
        parts = []
        for part in (f'{prefix}features', f'{prefix}labels'):
            if part not in arrays:
                alone = '; it has no test part of its own: give a file to train on and one to test on'
                hint = alone if len(files) == 1 and 'features' in arrays else nearest(part, arrays)
                raise UserError(f'{option}: {file} has no array {part!r}{hint}')
            parts.append(arrays[part])
        rows, labels = parts
        plain = np.issubdtype(rows.dtype, np.floating) and np.issubdtype(labels.dtype, np.integer)
        if not plain or rows.ndim != 2 or not rows.shape[1] or labels.ndim != 1:
            raise UserError(
                f'{option}: {file} must hold features [n, dim], floats, and whole-number labels [n], not '
                f'{rows.dtype} {list(rows.shape)} and {labels.dtype} {list(labels.shape)}'
            )
        found.append((np.asarray(rows, np.float32), integers(labels, len(rows), f'{option}: {file}')))
    numbers, _ = renumbered(*(labels for _, labels in found))
    train, test = (Features(rows, y.astype(np.int32)) for (rows, _), y in zip(found, numbers, strict=True))
    return train, test
