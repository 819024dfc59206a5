"""What a reduction keeps: of the neighbours, and of the labels."""

import numpy as np

from .. import diagnostics, evals


def judged(
    before: tuple[np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    *,
    neighbours: int = 10,
) -> dict[str, float]:
    """Numbers of reduced features; each of the three is a pair, bank and queries, and may be one object twice.

    Args:
      before: features before the reduction, `[n, width]`.
      after: features after it, `[n, dim]`.
      labels: `[n]`, −1 where unknown.
      neighbours: of the recall.

    Returns:
      `neighbour_recall`: share of a query's nearest rows of the bank, by Euclidean distance, that are among the
      nearest after the reduction. Where both parts have labels also `mAP` and `recall@1` of retrieval, and `knn`
      (20 neighbours, τ = 0.07) where they are two: these go by cosine, and leave out rows without a label.
    """
    same = after[0] is after[1]
    k = min(neighbours, len(before[0]) - same)
    x, z = (np.asarray(part[1], np.float32) for part in (before, after))
    x_bank, z_bank = (None if same else np.asarray(part[0], np.float32) for part in (before, after))
    recall = diagnostics.neighbour_recall(x, z, x_bank=x_bank, z_bank=z_bank, k=k)
    found = {'neighbour_recall': float(recall)}
    bank, query = (evals.labelled(evals.Features(z, y)) for z, y in zip(after, labels, strict=True))
    if len(bank.labels) > 1 and len(query.labels):
        scored = evals.retrieval(bank, bank if same else query, ks=(1,))
        found |= {name: scored[name] for name in ('mAP', 'recall@1')}
        found |= {} if same else evals.knn(bank, query)
    return found
