"""Accuracy over width: the first numbers of a representation, beside as many principal components of it."""

from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .features import Features, check_both
from .knn import knn


def widths(
    train: Features, test: Features, *, counts: Sequence[int] = (), k: int = 20, temperature: float = 0.07
) -> dict[str, float]:
    """k-NN accuracy of the first d numbers of the features, and of their first d principal components.

    What a representation of nested prefixes (the regulariser `matryoshka`) is measured by: elsewhere the first d
    numbers are any d of them.

    Args:
      train, test: features and labels; embeddings are given as features.
      counts: d, ascending, at most the width. (): the powers of 2 from 2 to below the width.
      k, temperature: of :func:`knn`, of which each number is one.

    Returns:
      `knn_first_<d>` and `knn_pca_<d>` for each d (components of centred train), and `knn_whole`.

    References:
      Kusupati et al. 2022, https://arxiv.org/abs/2205.13147, section 4.
    """
    train, test, _ = check_both(train, test, classes=1)
    rows, others = (np.asarray(part.features, np.float64) for part in (train, test))
    width = rows.shape[1]
    counts = tuple(counts) or tuple(2**i for i in range(1, max(width - 1, 1).bit_length()) if 2**i < width)
    if any(not 1 <= count <= width for count in counts):
        raise UserError(f'counts={counts!r} must lie between 1 and {width}, the width of the features')
    mean = rows.mean(axis=0)
    axes = np.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, ::-1]
    turned, others_turned = (rows - mean) @ axes, (others - mean) @ axes

    def accuracy(ours: np.ndarray, theirs: np.ndarray) -> float:
        parts = (Features(x.astype(np.float32), of.labels) for x, of in ((ours, train), (theirs, test)))
        return knn(*parts, k=k, temperature=temperature)['knn']

    found = {}
    for count in counts:
        found[f'knn_first_{count}'] = accuracy(rows[:, :count], others[:, :count])
        found[f'knn_pca_{count}'] = accuracy(turned[:, :count], others_turned[:, :count])
    return {**found, 'knn_whole': accuracy(rows, others)}
