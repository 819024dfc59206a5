"""Contrastive losses: pick the other view of the same image out of many."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, chosen, matrix, normalize, pair, positive, same_width


def ntxent(
    z1: Float[ArrayLike, 'batch dim'], z2: Float[ArrayLike, 'batch dim'], *, temperature: ArrayLike = 0.1
) -> Float[Array, '']:
    """Normalised temperature-scaled cross entropy, the mean over all 2·batch anchors (SimCLR, eq. 1).

    Each row must pick its other view out of the 2·batch − 1 rows that are not itself.

    Args:
      z1, z2: embeddings of two views of the same images, any norm (normalised here).
      temperature: τ > 0; logits are cosines / τ. Paper: 0.1 (ImageNet), 0.5 (CIFAR-10). A negative one, which
        lightly takes, drives the two views apart and is refused.

    Returns:
      Mean loss in nats, ≥ 0; log(2·batch − 1) at collapse; → 0 for aligned pairs far from all others
      as τ → 0.

    Convention: the mean over both views' anchors. The authors' TensorFlow code adds the two views'
    means, which is twice this; solo-learn and lightly take the mean.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Chen et al. 2020, https://arxiv.org/abs/2002.05709, eq. 1.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2)
    batch = z1.shape[0]
    z = normalize(jnp.concatenate([z1, z2]))
    logits = jnp.matmul(z, z.T, precision=HIGHEST) / temperature
    itself = jnp.eye(2 * batch, dtype=bool)
    positives = chosen(logits, jnp.roll(itself, batch, axis=1))
    return jnp.mean(jax.nn.logsumexp(jnp.where(itself, -jnp.inf, logits), axis=-1) - positives)


def info_nce(
    query: Float[ArrayLike, 'batch dim'],
    key: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    temperature: ArrayLike = 0.2,
) -> Float[Array, '']:
    """InfoNCE with the negatives in a queue (MoCo, eq. 1): query i against its key and every queue row.

    Args:
      query: embeddings of one view (normalised here).
      key: embeddings of the other view from the momentum encoder (normalised here; the caller stops
        their gradient).
      queue: earlier keys, one a row; the current keys are not among them.
      temperature: τ. MoCo v1: 0.07, v2: 0.2.

    Returns:
      Mean loss in nats over the batch, ≥ 0; log(1 + length) at collapse.

    Convention: one direction; `key` is no negative of other rows. The queue holds rows, where the
    authors' code holds columns.

    Cost: O(batch·length·dim); state: the queue, kept by the caller.

    References:
      He et al. 2020, https://arxiv.org/abs/1911.05722, eq. 1.
    """
    positive('temperature', temperature)
    query, key = pair(query, key, names=('query', 'key'))
    queue = matrix('queue', queue)
    same_width('queue', queue, 'query', query)
    query, key, queue = normalize(query), normalize(key), normalize(queue.astype(query.dtype))
    positives = jnp.sum(query * key, axis=-1, keepdims=True)
    negatives = jnp.matmul(query, queue.T, precision=HIGHEST)
    logits = jnp.concatenate([positives, negatives], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0])
