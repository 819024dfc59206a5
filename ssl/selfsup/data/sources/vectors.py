"""scikit-learn's bundled tables as vectors."""

import numpy as np

from ...errors import UserError, nearest
from .arrays import from_rows
from .base import Options, Source
from .features import parted

TABLES = ('breast_cancer', 'digits', 'iris', 'wine')


def open_vectors(name: str, options: Options) -> tuple[Source, Source]:
    """float32 rows `[dim]` of a table, `data.test_fraction` of each class for the test, standardised as train is."""
    if name not in TABLES:
        raise UserError(f'data.source=vectors:{name} is unknown{nearest(name, TABLES)}')
    from sklearn import datasets

    table = getattr(datasets, f'load_{name}')()
    names = [str(n) for n in table.target_names]
    source = from_rows(f'vectors:{name}', table.data, np.asarray(table.target), names)
    return parted(source, options.test_fraction)
