"""ESimCSE: in-batch contrast in one direction, with a momentum encoder's queue as further negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import HIGHEST, chosen, matrix, normalize, pair, positive, same_width


def esimcse(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    queue_valid: Bool[ArrayLike, ' length'] | None = None,
    temperature: ArrayLike = 0.05,
) -> Float[Array, '']:
    """Row i of `z1` must pick its row of `z2` out of the batch and a queue: CE([cos(z1, z2) | cos(z1, queue)] / τ).

    Without a valid row in the queue it is SimCSE's loss, :func:`selfsup.losses.info_nce_in_batch` at τ = 0.05.

    Args:
      z1, z2: embeddings of two views from the trained network (normalised here).
      queue: earlier embeddings of first views from a momentum encoder, one a row.
      queue_valid: which rows of the queue hold an embedding; None for all. It is empty at the start.
      temperature: τ > 0. Authors: 0.05.

    Returns:
      Mean loss in nats, ≥ 0; log(batch + valid rows) at collapse.

    Convention: one direction, from the first view to the second.

    Cost: O(batch·(batch + length)·dim); state: the queue, kept by the caller.

    References:
      Wu et al. 2022, https://arxiv.org/abs/2109.04380, section 3; Gao et al. 2021,
      https://arxiv.org/abs/2104.08821, eq. 4.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2)
    queue = matrix('queue', queue)
    same_width('queue', queue, 'z1', z1)
    z1, z2, queue = normalize(z1), normalize(z2), normalize(queue.astype(z1.dtype))
    in_batch = jnp.matmul(z1, z2.T, precision=HIGHEST) / temperature
    earlier = jnp.matmul(z1, queue.T, precision=HIGHEST) / temperature
    if queue_valid is not None:
        earlier = jnp.where(jnp.asarray(queue_valid)[None], earlier, -jnp.inf)
    logits = jnp.concatenate([in_batch, earlier], axis=1)
    positives = chosen(in_batch, jnp.eye(z1.shape[0], dtype=bool))
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positives)
