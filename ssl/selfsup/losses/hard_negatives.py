"""InfoNCE against the hardest rows of a queue: those alone, or with mixtures of them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, matrix, normalize, pair, positive, same_width


def _hardest(query: ArrayLike, key: ArrayLike, queue: ArrayLike, hardest: int) -> tuple:
    """Unit queries, their cosines with their keys `[batch, 1]`, the hardest rows' cosines and numbers, unit rows."""
    query, key = pair(query, key, names=('query', 'key'))
    queue = matrix('queue', queue)
    same_width('queue', queue, 'query', query)
    if not 1 <= hardest <= queue.shape[0]:
        raise ValueError(f'hardest={hardest} must lie in [1, {queue.shape[0]}], the rows of the queue')
    query, key, queue = normalize(query), normalize(key), normalize(queue.astype(query.dtype))
    cosines, rows = jax.lax.top_k(jnp.matmul(query, queue.T, precision=HIGHEST), hardest)
    return query, jnp.sum(query * key, axis=-1, keepdims=True), cosines, rows, queue


def info_nce_hardest(
    query: Float[ArrayLike, 'batch dim'],
    key: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    temperature: ArrayLike = 0.2,
    hardest: int = 1024,
) -> Float[Array, '']:
    """InfoNCE of query i against its key and those rows of the queue that are most alike to it.

    Args:
      query, key, queue, temperature: as of :func:`selfsup.losses.info_nce`, which this is for `hardest = length`.
      hardest: how many rows stand in the denominator.

    Returns:
      Mean loss in nats over the batch, ≥ 0; log(1 + hardest) at collapse.

    Convention: the selection is by cosine, of each query for itself. The paper was read in its abstract alone, and has
    no public code, so the number of rows and the absence of weights are this library's reading.

    Cost: O(batch·length·dim); state: the queue, kept by the caller.

    References:
      Enhanced MoCo 2025, https://arxiv.org/abs/2501.16360.
    """
    positive('temperature', temperature)
    _, own, cosines, _, _ = _hardest(query, key, queue, hardest)
    logits = jnp.concatenate([own, cosines], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0])


def mochi(
    query: Float[ArrayLike, 'batch dim'],
    key: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    pairs: Int[ArrayLike, 'batch mixed 2'],
    shares: Float[ArrayLike, 'batch mixed'],
    own: Int[ArrayLike, 'batch harder'],
    own_shares: Float[ArrayLike, 'batch harder'],
    *,
    temperature: ArrayLike = 0.2,
    hardest: int = 1024,
) -> Float[Array, '']:
    """InfoNCE against the whole queue and against mixtures of its hardest rows (hard negative mixing).

    With n_1, n_2, … the rows most alike to query q, hardest first, further negatives of q are the unit vectors along

        α·n_i + (1 − α)·n_j    and    β·q + (1 − β)·n_j.

    Args:
      query, key, queue: as of :func:`selfsup.losses.info_nce`.
      pairs: i and j of each mixture of two, below `hardest`. Paper: drawn uniformly, 1024 of them.
      shares: α. Paper: uniform in (0, 1).
      own: j of each mixture with the query. Paper: 128 of them.
      own_shares: β. Paper: uniform in (0, 0.5).
      temperature: τ.
      hardest: how many of the queue's rows are mixed. Paper: 1024.

    Returns:
      Mean loss in nats over the batch, ≥ 0; log(1 + length + mixed + harder) at collapse.

    Convention: mixtures carry no gradient, as the queue does not: the query learns from its similarity with them alone.

    Cost: O(batch·(length + mixed + harder)·dim); state: the queue, kept by the caller.

    References:
      Kalantidis et al. 2020, https://arxiv.org/abs/2010.01028, section 4.
    """
    positive('temperature', temperature)
    shapes = [jnp.shape(x) for x in (pairs, shares, own, own_shares)]
    if shapes[0] != (*shapes[1], 2) or shapes[2] != shapes[3]:
        raise ValueError(f'pairs, shares, own and own_shares do not fit: {", ".join(str(list(s)) for s in shapes)}')
    unit, positives, _, rows, queue = _hardest(query, key, queue, hardest)
    fixed = jax.lax.stop_gradient(unit)
    known = jax.lax.stop_gradient(queue)

    def picked(places: Array) -> Array:
        return known[jnp.take_along_axis(rows, places, axis=1)]

    def mixed(first: Array, second: Array, share: ArrayLike) -> Array:
        share = jnp.asarray(share, unit.dtype)[:, :, None]
        return normalize(share * first + (1.0 - share) * second)

    pairs = jnp.asarray(pairs)
    made = jnp.concatenate(
        [
            mixed(picked(pairs[:, :, 0]), picked(pairs[:, :, 1]), shares),
            mixed(fixed[:, None], picked(jnp.asarray(own)), own_shares),
        ],
        axis=1,
    )
    negatives = jnp.matmul(unit, queue.T, precision=HIGHEST)
    further = jnp.einsum('bd,bkd->bk', unit, made, precision=HIGHEST)
    logits = jnp.concatenate([positives, negatives, further], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0])
