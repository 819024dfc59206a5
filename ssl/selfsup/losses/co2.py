"""CO2: a query and its key should be alike to the same negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, pair, positive, same_width


def co2(
    query: Float[ArrayLike, 'batch dim'],
    key: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    temperature: ArrayLike = 0.05,
) -> Float[Array, '']:
    """Consistency of relations: ½·KL(p ‖ q) + ½·KL(q ‖ p), mean over the batch.

    p_i = softmax over (n(q_i)·n(k_i), n(q_i)·Q) / τ and q_i = softmax over (n(q_i)·n(k_i), n(k_i)·Q) / τ, Q the queue.

    Args:
      query: embeddings of one view (normalised here).
      key: embeddings of the other view (normalised here; the caller stops their gradient).
      queue: earlier keys, one a row (normalised here); the current keys are not among them.
      temperature: τ. lightly: 0.05.

    Returns:
      Mean divergence in nats, ≥ 0; 0 at collapse, and for two equal views.

    Convention: as lightly's `CO2Regularizer`, both distributions hold the pair's own similarity too.

    Cost: O(batch·length·dim); state: the queue, kept by the caller.

    References:
      Wei et al. 2021, https://arxiv.org/abs/2010.02217.
    """
    positive('temperature', temperature)
    query, key = pair(query, key, names=('query', 'key'))
    queue = matrix('queue', queue)
    same_width('queue', queue, 'query', query)
    query, key, queue = normalize(query), normalize(key), normalize(queue.astype(query.dtype))
    own = jnp.sum(query * key, axis=-1, keepdims=True)

    def relations(z: Array) -> Array:
        logits = jnp.concatenate([own, jnp.matmul(z, queue.T, precision=HIGHEST)], axis=1) / temperature
        return jax.nn.log_softmax(logits, axis=-1)

    p, q = relations(query), relations(key)
    return jnp.mean(jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), axis=-1)) / 2.0
