"""Files that name the rows of a training set to train on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import expanded, read_arrays
from .sources import Source

FIELDS = ('index', 'rows', 'fingerprint')


def chosen(source: Source, file: str) -> Source:
    """The rows that a file of `selfsup subset` names.

    Args:
      source: the training set that the file was made for, before images are brought to a size.
      file: npz with `index` (numbers of rows), `rows` (of the whole set) and `fingerprint` (of the set).

    Raises:
      UserError: a file that is none, numbers that are no rows, a file of another set.
    """
    arrays = read_arrays(expanded(file), f'data.subset={file}')
    if missing := [name for name in FIELDS if name not in arrays]:
        raise UserError(f'data.subset={file} has no {missing[0]!r}; it is to be a file of selfsup subset')
    index = arrays['index']
    if not np.issubdtype(index.dtype, np.integer) or index.ndim != 1 or not len(index):
        raise UserError(f'data.subset={file}: index must hold numbers of rows, not {index.dtype} {list(index.shape)}')
    if str(arrays['fingerprint']) != source.fingerprint or int(arrays['rows']) != len(source):
        raise UserError(
            f'data.subset={file} was made of another training set of {int(arrays["rows"])} rows, and {source.name} has '
            f'{len(source)}: data.source and data.per_class must be those of the run that its features came from'
        )
    kept = np.unique(index)
    if kept[0] < 0 or kept[-1] >= len(source) or len(kept) < len(index):
        raise UserError(f'data.subset={file}: index must hold different numbers from 0 to {len(source) - 1}')
    return source.select(kept, f'{len(kept)} of {len(source)}')


def arrays_of(source: Source, kept: np.ndarray, **more: Any) -> Mapping[str, np.ndarray]:
    """What such a file holds."""
    found = {'index': kept, 'rows': len(source), 'fingerprint': source.fingerprint, **more}
    return {name: np.asarray(value) for name, value in found.items()}
