"""Retrieval: whether the images nearest to a query are of its class."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check_both, unit_rows
from .knn import search


@functools.partial(jax.jit, static_argnames=('ks',))
def _measures(relevant: Array, available: Array, *, ks: tuple[int, ...]) -> Array:
    """Per query: a hit among the first k for each k, then average precision. `relevant [queries, gallery]` in order."""
    hits = jnp.cumsum(relevant, axis=1)
    ranks = jnp.arange(1, relevant.shape[1] + 1)[None]
    precision = jnp.sum(relevant * hits / ranks, axis=1) / jnp.maximum(available, 1)
    return jnp.stack([*(jnp.minimum(hits[:, k - 1], 1).astype(jnp.float32) for k in ks), precision], axis=1)


def retrieval(
    train: Features,
    test: Features,
    *,
    ks: Sequence[int] = (1, 5, 10),
    depth: int = 0,
    chunk: int = 512,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Recall@k and mean average precision; each row of test is a query, and all rows of train are ranked by cosine.

    Args:
      train, test: the gallery and the queries. Given the same object as both, no row finds itself.
      ks: depths of recall.
      depth: only so many of the ranked rows are looked at; 0 ranks the whole gallery, and mAP is exact. With a
        depth, what lies beyond counts as never found.
      chunk, mesh: see :func:`selfsup.evals.knn.search`.

    Returns:
      `recall@<k>`: share of queries with one of their class among the first k. `mAP`: mean over queries of
      the mean precision at the ranks of all of their class in the gallery. Queries whose class is not in
      the gallery are left out of both.
    """
    train, test, classes = check_both(train, test, classes=1)
    itself = train is test
    most = len(train.features) - itself
    if not ks or min(ks) < 1 or max(ks) > most:
        raise UserError(f'recall@{tuple(ks)} needs depths from 1 to the {most} samples of the gallery')
    depth = min(max(depth, max(ks)) if depth else most, most)
    gallery, queries = unit_rows(train.features), unit_rows(test.features)
    size = max(classes, int(test.labels.max()) + 1)
    available = np.bincount(train.labels, minlength=size)[test.labels] - itself
    found = []
    for rows, _, index in search(queries, gallery, k=depth + itself, chunk=chunk, mesh=mesh):
        nearest = np.asarray(index)[: rows.stop - rows.start]
        if itself:
            # A duplicate may stand before the row itself, so it is looked for; where ties pushed it out, the last goes.
            own = nearest == np.arange(rows.start, rows.stop)[:, None]
            own[~own.any(axis=1), -1] = True
            nearest = nearest[~own].reshape(len(nearest), depth)
        relevant = train.labels[nearest] == test.labels[rows][:, None]
        found.append(np.asarray(_measures(relevant, available[rows], ks=tuple(ks))))
    numbers = np.concatenate(found)[available > 0]
    if not len(numbers):
        raise UserError('no class of the queries is in the gallery')
    means = numbers.mean(axis=0, dtype=np.float64)
    return {**{f'recall@{k}': float(v) for k, v in zip(ks, means, strict=False)}, 'mAP': float(means[-1])}
