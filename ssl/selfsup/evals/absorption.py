"""What becomes of a wide concept in a dictionary: units that split it, and units of its parts that absorb it."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array

from .. import dictionaries
from ..errors import UserError
from .dictionary import Coded
from .features import Features, standardized
from .sparse_probe import balanced, rated

MOST = 10  # units that a concept may be split into
JUMP = 0.03  # gain of F1 for which a further unit counts as one of the concept's
LEAST_F1 = 0.6  # of the probe of the inputs, below which a concept is not there to be absorbed


@jax.jit
def _weights(features: Array, positive: Array) -> tuple[Array, Array]:
    """Weight vector and intercept of a balanced logistic regression, one for each first axis of the features."""

    def one(x: Array) -> tuple[Array, Array]:
        model = balanced(x, positive)
        return model.kernel[:, 1] - model.kernel[:, 0], model.bias[1] - model.bias[0]

    return jax.vmap(one)(features)


def main_units(
    train: np.ndarray, test: np.ndarray, positive: np.ndarray, positive_test: np.ndarray, *, most: int = MOST
) -> np.ndarray:
    """The units that say a concept: the fewest beyond which another adds no more than 0.03 to F1.

    Units stand in the order of the difference of their mean standardised codes with the concept and without; F1 is of
    balanced logistic regressions (C = 1) of the first 1, 2, ... of them, fitted on train, on test.

    Args:
      train, test: codes `[n, units]`.
      positive, positive_test: whether each row has the concept.
      most: units tried.
    """
    first, second = standardized(Features(train, positive.astype(np.int32)), Features(test, positive_test))
    order = np.argsort(-(first[positive].mean(axis=0) - first[~positive].mean(axis=0)), kind='stable')[:most]
    # A column of zeros gets no weight, so that all sizes are one program.
    kept = np.tril(np.ones((len(order), len(order)), first.dtype))[:, None]
    kernel, bias = _weights(first[None, :, order] * kept, positive.astype(np.int32))
    logits = np.einsum('knu,ku->kn', second[None, :, order] * kept, np.asarray(kernel)) + np.asarray(bias)[:, None]
    best, count = -np.inf, 0
    for row in logits:
        f1 = rated(positive_test, row > 0)[1]
        if f1 <= best + JUMP:
            break
        best, count = f1, count + 1
    return order[:count]


def absorption(train: Coded, test: Coded, atoms: np.ndarray, parents: Sequence[int]) -> dict[str, float]:
    """Splitting and absorption of wide concepts whose parts are the classes, means over the concepts.

    Of each concept a probe of the inputs (balanced logistic regression, C = 1) gives the direction, and
    :func:`main_units` the units that say it. Test rows with the concept that the probe finds are looked at, by
    :func:`selfsup.dictionaries.absorption`. A unit of a part that holds so much of the concept that F1 rises by more
    than 0.03 counts as split, and a smaller one as absorbing.

    Args:
      train, test: rows with a label each; of a linear decoder.
      atoms: `[units, dim]`.
      parents: the concept of each class, from 0.

    Returns:
      `absorption` (share of the concept that other units carry, in [0, 1]), `absorption_full` (share of rows),
      `split_units` (units of a concept beyond the first), and `absorption_concepts`, those whose probe has an F1 above
      0.6, which are counted; NaN for the other three where there are none.

    Raises:
      UserError: parents that are not one for each class, or all the same; shapes that do not match.

    References:
      Karvonen et al. 2025, https://arxiv.org/abs/2503.09532, and their code (SAEBench), which chooses units by an
      L1 probe and projects inputs with the centre in them.
    """
    groups = np.asarray(parents)
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    if groups.shape != (classes,) or groups.min() < 0 or len(np.unique(groups)) < 2:
        raise UserError(f'parents must be {classes} numbers from 0, one for each class, not all the same: {parents}')
    if atoms.shape != (train.codes.shape[1], train.inputs.shape[1]):
        raise UserError(f'atoms {list(atoms.shape)} do not fit codes {list(train.codes.shape)} of inputs '
                        f'{list(train.inputs.shape)}')  # fmt: skip
    train, test = (Coded(*(part[z.labels >= 0] for part in z)) for z in (train, test))
    centre = (train.reconstructions - train.codes @ atoms).mean(axis=0)
    spread = train.inputs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x, x_test = ((part.inputs - train.inputs.mean(axis=0)) / spread for part in (train, test))
    found = []
    for concept in np.unique(groups):
        positive, positive_test = groups[train.labels] == concept, groups[test.labels] == concept
        if positive.all() or not positive.any() or not positive_test.any():
            continue
        kernel, bias = (np.asarray(z)[0] for z in _weights(x[None], positive.astype(np.int32)))
        seen = x_test @ kernel + bias > 0
        if rated(positive_test, seen)[1] <= LEAST_F1:
            continue
        rows = positive_test & seen
        main = main_units(train.codes, test.codes, positive, positive_test)
        told = dictionaries.absorption(test.inputs[rows] - centre, test.codes[rows], atoms, kernel / spread, main)
        found.append((float(told.fraction.mean()), float(told.full.mean()), len(main) - 1))
    means = np.mean(found, axis=0) if found else np.full(3, np.nan)
    names = ('absorption', 'absorption_full', 'split_units')
    return {**dict(zip(names, map(float, means), strict=True)), 'absorption_concepts': float(len(found))}
