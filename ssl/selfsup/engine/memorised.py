"""SSLMem of every row of a training set, by two runs on different parts of it."""

import numpy as np

from .. import diagnostics
from ..data import sources, subsets
from ..data.sprites import Factor
from ..errors import UserError
from . import build
from .encoder import Encoder
from .view_evals import encoded_views


def trained_on(encoder: Encoder) -> tuple[sources.Source, np.ndarray]:
    """All rows that the run's subset was taken from, and the numbers of those that it has trained on.

    Held-out rows (`data.holdout`) are not among them.

    Raises:
      UserError: an encoder without data of its own.
    """
    c = encoder.config.data
    if not c.source:
        raise UserError('--by=memorised reads which rows an encoder trained on; an imported one names none')
    whole, _ = build.training_set(encoder.config)
    numbered = whole.replace(factors={'row': Factor(np.arange(len(whole)), len(whole), 'number')})
    chosen = subsets.chosen(numbered, c.subset) if c.subset else numbered
    train, _ = build.held_out(encoder.config, chosen)
    return whole, np.sort(train.factors['row'].values)


def scores(first: Encoder, second: Encoder) -> tuple[sources.Source, np.ndarray, int]:
    """SSLMem of each row by the run that trained on it, against the one that did not.

    Args:
      first, second: encoders of runs that differ in their `data.subset` alone, of one training set.

    Returns:
      The whole training set, as it is stored; a score for each of its rows, in [−2, 2], 0 where both or neither of the
      runs trained on it; and how many rows one of them alone trained on.

    Raises:
      UserError: runs on different sets, or on the same rows of one.

    References:
      Wang et al. 2024, https://arxiv.org/abs/2401.12233, eq. 2: f is trained with an image, g without it. Two runs on
      two halves are f and g of each other's images.
    """
    (whole, ours), (other, theirs) = trained_on(first), trained_on(second)
    if whole.fingerprint != other.fingerprint:
        raise UserError(f'--workdir trained on {whole.name} and --with on {other.name}; both must be of one set')
    side = np.isin(np.arange(len(whole)), ours).astype(np.int8) - np.isin(np.arange(len(whole)), theirs)
    if not side.any():
        raise UserError('--workdir and --with trained on the same rows, so that neither tells what the other memorised')
    shown = build.brought(first.config, whole)
    found = [
        np.asarray(diagnostics.sslmem(f, g))
        for f, g in encoded_views([first, second], shown, shown, kind='features', count=len(shown))
    ]
    found = np.concatenate(found)
    if len(found) < len(whole):
        raise UserError(f'{len(whole) - len(found)} images of {whole.name} cannot be decoded, and have no score')
    return whole, side * found, int(np.abs(side).sum())
