"""PCA, whitened or not, as a reducer."""

import numpy as np

from .. import diagnostics
from ..errors import UserError
from .reducer import Reducer


def check_dim(rows: np.ndarray, dim: int, *, least: int) -> None:
    """Refuses rows that are no finite `[n, width]`, too few of them, or a `dim` above their width.

    Raises:
      UserError: naming what is wrong.
    """
    if rows.ndim != 2 or 0 in rows.shape:
        raise UserError(f'features must have shape [n, width], not {list(rows.shape)}')
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise UserError(f'{int(bad.sum())} rows of features are not finite, the first is {int(bad.argmax())}')
    if not 1 <= dim <= rows.shape[1]:
        raise UserError(f'--dim must lie between 1 and the width of the features, {rows.shape[1]}, and is {dim}')
    if len(rows) < least:
        raise UserError(f'{len(rows)} rows are too few to fit on: at least {least} are needed')


def pca(rows: np.ndarray, dim: int, *, whiten: bool = False) -> Reducer:
    """The `dim` directions of largest variance of rows `[n, width]`, in falling order.

    Args:
      rows: what is fitted on.
      dim: directions, at most `width`.
      whiten: whether each is divided by its deviation (ddof 0); directions without variance become 0.

    Raises:
      UserError: naming what is wrong with the rows or `dim`.
    """
    check_dim(rows, dim, least=2)
    found = diagnostics.fit_whitening(np.asarray(rows, np.float32), kind='pca', power=1.0 if whiten else 0.0)
    matrix = np.asarray(found.matrix)[:, :dim]
    return Reducer('whiten' if whiten else 'pca', (matrix,), (-np.asarray(found.mean) @ matrix,))
