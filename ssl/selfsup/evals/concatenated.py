"""Several encoders as one: their features side by side, against each alone."""

import itertools
from collections.abc import Sequence

import numpy as np

from .. import diagnostics
from ..errors import UserError
from .features import Features, check_both, even_draw, labelled, unit_rows
from .knn import knn
from .linear import linear_logistic, linear_probe
from .relative import check_same

LABELS = 10  # per class, of the probe with few labels
SAMPLES = 2000  # rows of train whose likeness is measured
Pair = tuple[Features, Features]


def joined(parts: Sequence[Features]) -> Features:
    """Features of the same samples side by side, those of each encoder as unit rows / √encoders.

    Cosines of the joined rows are the means of the encoders' cosines; a linear probe standardises each column, so
    that it does not depend on these scales but through the norms of rows.
    """
    rows = [unit_rows(part.features) / np.sqrt(len(parts)) for part in parts]
    return Features(np.concatenate(rows, axis=1).astype(np.float32), parts[0].labels)


def scores(train: Features, test: Features) -> dict[str, float]:
    """Accuracy with all labels (''), by k-NN ('knn_') and, where every class has them, with ten labels ('few_10_')."""
    few = linear_probe(train, test, label_counts=(LABELS,))
    found = {'': linear_logistic(train, test)['linear_logistic'], 'knn_': knn(train, test)['knn']}
    return found | ({f'few_{LABELS}_': few[f'linear_{LABELS}']} if f'linear_{LABELS}' in few else {})


def concatenated(pairs: Sequence[Pair], *, samples: int = SAMPLES) -> dict[str, float]:
    """Accuracy of the features of the first n encoders side by side, n from 1, and of the encoders alone.

    Encoders of several seeds learn different features of the same data; joined they can serve a task that none of them
    was chosen for. What they gain over one should be held against one encoder of their width together.

    Args:
      pairs: train and test features of each of two or more encoders, of the same samples in the same order; rows
        without a label are left out.
      samples: rows of train for `cka`, drawn evenly from the classes.

    Returns:
      `concatenated_<n>` (logistic regression, C chosen on train), `concatenated_knn_<n>` (cosine, k = 20) and, where
      every class has so many, `concatenated_few_10_<n>` (ten labels per class, C = 1, 5 draws); for each `…_alone`, the
      mean over the single encoders, and `…_gain`, all joined less that mean; `concatenated_width`; and
      `concatenated_cka`, the mean over pairs of encoders of the debiased linear CKA of their train features: near 1
      they hold the same, and little is to be gained.

    Raises:
      UserError: fewer than two encoders; samples that do not match, by their number or labels.

    References:
      Zhang and Bottou 2023, https://arxiv.org/abs/2212.07346, section 2 (Cat: networks of several seeds, features
      joined and a linear layer on top).
    """
    if len(pairs) < 2:
        raise UserError(f'several encoders are to be joined, and {len(pairs)} is given')
    for train, test in pairs[1:]:
        check_same(pairs[0][0], train, 'train')
        check_same(pairs[0][1], test, 'test')
    known = [(labelled(train), labelled(test)) for train, test in pairs]
    trains, tests, _ = zip(*(check_both(*pair) for pair in known), strict=True)
    count, found = len(pairs), {}
    for n in range(1, count + 1):
        found |= {f'{name}{n}': value for name, value in scores(joined(trains[:n]), joined(tests[:n])).items()}
    alone = [scores(joined([train]), joined([test])) for train, test in zip(trains, tests, strict=True)]
    for name in alone[0]:
        found[f'{name}alone'] = float(np.mean([single[name] for single in alone]))
        found[f'{name}gain'] = found[f'{name}{count}'] - found[f'{name}alone']
    rows = even_draw(trains[0].labels, samples, seed=0)
    alike = [
        float(diagnostics.cka(a.features[rows], b.features[rows], debiased=True))
        for a, b in itertools.combinations(trains, 2)
    ]
    found |= {'cka': float(np.mean(alike)), 'width': float(sum(part.features.shape[1] for part in trains))}
    return {f'concatenated_{name}': value for name, value in found.items()}
