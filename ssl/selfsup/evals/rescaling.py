"""How much nearest neighbours owe to the scale of each dimension: raw, centred, standardised, whitened features."""

import numpy as np

from .. import diagnostics
from .features import Features, check_both, standardized
from .knn import knn

SHRINKAGE = 1e-3  # of the whitening's covariance: directions that hold nothing are not blown up


def rescaling(train: Features, test: Features, *, k: int = 20, temperature: float = 0.07) -> dict[str, float]:
    """k-NN (:func:`knn`) after four changes of the features that no linear probe would see.

    A cosine depends on the scale that training left each dimension with; where these numbers differ much, a k-NN
    accuracy says little about the representation by itself.

    Args:
      train, test: features and labels; every statistic is of train.
      k, temperature: of the vote.

    Returns:
      `rescaling_raw`, `rescaling_centred`, `rescaling_standardised`, `rescaling_whitened` (ZCA, shrunk by 0.001), and
      `rescaling_spread`, the largest less the smallest.

    References:
      Steck et al. 2024, https://arxiv.org/abs/2403.05440.
    """
    train, test, _ = check_both(train, test, classes=1)
    mean = train.features.mean(axis=0)
    whitening = diagnostics.fit_whitening(train.features, kind='zca', shrinkage=SHRINKAGE)
    sets = {
        'raw': (train.features, test.features),
        'centred': (train.features - mean, test.features - mean),
        'standardised': standardized(train, test),
        'whitened': tuple(np.asarray(diagnostics.whiten(whitening, part.features)) for part in (train, test)),
    }
    found = {
        f'rescaling_{name}': knn(
            Features(ours, train.labels), Features(theirs, test.labels), k=k, temperature=temperature
        )['knn']
        for name, (ours, theirs) in sets.items()
    }
    return {**found, 'rescaling_spread': max(found.values()) - min(found.values())}
