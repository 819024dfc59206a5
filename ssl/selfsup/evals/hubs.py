"""k-NN on distances with fewer hubs, and how uneven neighbours are with and without them."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Array

from .. import diagnostics
from ..errors import UserError, nearest
from .features import Features, check_both, even_draw, extract, unit_rows

METRICS = ('cosine', 'euclidean')
MOST_BANK = 2**14  # rows of the bank, whose distances to itself are held: 1 GiB as float32
SCALE = 5  # neighbours that set the scale of a reduction

# Name -> distances of queries to a bank, from both as rows, the metric and the neighbours that set the scale.
Reduction = Callable[[Array, Array, str, int], Array]


def _of_distances(reduce: Callable[..., Array], *, scaled: bool = True) -> Reduction:
    def reduced(query: Array, bank: Array, metric: str, k: int) -> Array:
        between = diagnostics.pairwise_distances(query, bank, metric=metric)
        own = diagnostics.pairwise_distances(bank, metric=metric)
        return reduce(between, own, k=k) if scaled else reduce(between, own)

    return reduced


REDUCTIONS: dict[str, Reduction] = {
    'none': lambda query, bank, metric, k: diagnostics.pairwise_distances(query, bank, metric=metric),
    'csls': _of_distances(diagnostics.csls),
    'dissim_local': lambda query, bank, metric, k: diagnostics.dissim_local(query, bank, k=k),
    'local_scaling': _of_distances(diagnostics.local_scaling),
    'mutual_proximity': _of_distances(diagnostics.mutual_proximity, scaled=False),
    'nicdm': _of_distances(diagnostics.nicdm),
}


@functools.partial(jax.jit, static_argnames=('reduction', 'metric', 'k', 'scale'))
def _neighbours(query: Array, bank: Array, *, reduction: str, metric: str, k: int, scale: int) -> Array:
    return diagnostics.nearest_by_distance(REDUCTIONS[reduction](query, bank, metric, scale), k=k)


def neighbours(
    bank: np.ndarray, query: np.ndarray, *, k: int, reduction: str, metric: str = 'cosine', scale: int = SCALE
) -> np.ndarray:
    """Indices `[queries, k]` of the nearest rows of a bank after a reduction of hubs, nearest first.

    Raises:
      UserError: an unknown reduction or metric, with the nearest; a bank that is too small or above 16,384 rows.
    """
    for name, value, known in (('reduction', reduction, REDUCTIONS), ('metric', metric, METRICS)):
        if value not in known:
            raise UserError(f'{name}={value!r} is unknown{nearest(value, known)}')
    if reduction == 'csls' and metric != 'cosine':
        raise UserError("reduction='csls' is of cosine distances; take metric='cosine'")
    if len(bank) > MOST_BANK:
        raise UserError(
            f'reductions of hubs hold the distances of {len(bank)} rows to one another; at most {MOST_BANK}'
        )
    if not 1 <= max(k, scale) < len(bank):
        raise UserError(f'{max(k, scale)} neighbours are not fewer than the {len(bank)} samples to choose from')
    # On unit rows Euclidean distances order as cosines do: what DisSimLocal, which takes rows, reads.
    bank, query = (unit_rows(x) if metric == 'cosine' else np.asarray(x, np.float32) for x in (bank, query))
    held = jax.device_put(bank)
    call = functools.partial(_neighbours, reduction=reduction, metric=metric, k=k, scale=scale)
    return extract(lambda rows: call(rows, held), query, batch_size=1024)


def majority(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The most frequent class among the neighbours `found` `[queries, k]`; of equals the smaller."""
    names, places = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(found), len(names)), np.int64)
    np.add.at(votes, (np.arange(len(found))[:, None], places[found]), 1)
    return names[votes.argmax(axis=1)]


def hubs(
    train: Features,
    test: Features,
    *,
    k: int = 10,
    metric: str = 'cosine',
    reductions: Sequence[str] = tuple(REDUCTIONS),
    bank: int = 5000,
    queries: int = 2000,
) -> dict[str, float]:
    """k-NN by majority vote with each reduction of hubs, and how uneven the neighbours are.

    Args:
      train, test: features and labels; at most `bank` rows of train are chosen from, and at most `queries` of test ask,
        both drawn evenly from the classes (:func:`even_draw`).
      k: neighbours that vote, unweighted; at most a third of the bank.
      metric: 'cosine' or 'euclidean' (then without `csls`).
      reductions: rows of :data:`REDUCTIONS`; each takes the scale from 5 neighbours.

    Returns:
      For each reduction `hubs_knn_<name>`, the accuracy, `hubs_skewness_<name>`, that of the k-occurrence of the bank's
      rows, and `hubs_antihubs_<name>`, the share of them that are nobody's neighbour. Where the width is high, fewer
      hubs come with a better vote; 0 skewness is a random choice.

    References:
      Radovanović et al. 2010, https://jmlr.org/papers/v11/radovanovic10a.html; Feldbauer and Flexer 2019,
      https://doi.org/10.1007/s10115-018-1205-y.
    """
    train, test, _ = check_both(train, test, classes=1)
    ours, theirs = even_draw(train.labels, bank, seed=0), even_draw(test.labels, queries, seed=0)
    results: dict[str, float] = {}
    for name in reductions:
        if name == 'csls' and metric != 'cosine':
            continue
        few = max(min(k, len(ours) // 3), 1)
        found = neighbours(train.features[ours], test.features[theirs], k=few, reduction=name, metric=metric)
        measures = diagnostics.hubness_of(found, bank=len(ours))
        hits = majority(train.labels[ours], found) == test.labels[theirs]
        results[f'hubs_knn_{name}'] = float(np.mean(hits))
        results |= {f'hubs_{part}_{name}': float(measures[part]) for part in ('skewness', 'antihubs')}
    return results
