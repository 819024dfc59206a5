"""Contrast with the other view's batch: MoCo v3, and NNCLR's neighbours."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, chosen, normalize, pair, positive
from .neighbours import nearest


def info_nce_in_batch(
    query: Float[ArrayLike, 'batch dim'], key: Float[ArrayLike, 'batch dim'], *, temperature: ArrayLike = 0.2
) -> Float[Array, '']:
    """InfoNCE of query i against all keys of the batch, its own being the right one.

    L = mean −log( exp(n(q_i)·n(k_i)/τ) / Σ_j exp(n(q_i)·n(k_j)/τ) ).

    Args:
      query: embeddings of one view (normalised here).
      key: embeddings of the other view (normalised here); gradient passes unless the caller stops it.
      temperature: τ.

    Returns:
      Mean loss in nats over the batch, ≥ 0; log(batch) at collapse.

    Convention: one direction, and the negatives are keys alone: queries are not compared with queries,
    as they are in :func:`selfsup.losses.ntxent`.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4.
    """
    positive('temperature', temperature)
    query, key = pair(query, key, names=('query', 'key'))
    query, key = normalize(query), normalize(key)
    logits = jnp.matmul(query, key.T, precision=HIGHEST) / temperature
    positives = chosen(logits, jnp.eye(len(query), dtype=bool))
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - positives)


def moco_v3(
    query: Float[ArrayLike, 'batch dim'], key: Float[ArrayLike, 'batch dim'], *, temperature: ArrayLike = 1.0
) -> Float[Array, '']:
    """MoCo v3's contrastive term of one direction: 2τ · InfoNCE(query, sg key) (eq. 1 and algorithm 1).

    The method's loss is the sum of both directions, `moco_v3(q1, k2) + moco_v3(q2, k1)`.

    Args:
      query: the predictor's output for one view (normalised here).
      key: the momentum network's output for the other view (normalised here); no gradient passes.
      temperature: τ. Authors: 1.0 for ResNet-50, 0.2 for ViT; solo-learn on CIFAR: 0.2.

    Returns:
      A scalar ≥ 0 in units of cosine (nats times 2τ); 2τ·log(batch) at collapse.

    Convention: the factor 2τ makes the gradient's size independent of τ, as in the authors' code and
    solo-learn; lightly's example leaves it out. The two directions are summed, not averaged.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Chen et al. 2021, https://arxiv.org/abs/2104.02057, eq. 1 and algorithm 1.
    """
    query, key = pair(query, key, names=('query', 'key'))
    return 2.0 * temperature * info_nce_in_batch(query, jax.lax.stop_gradient(key), temperature=temperature)


def nnclr(
    p: Float[ArrayLike, 'batch dim'],
    z: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    temperature: ArrayLike = 0.1,
) -> Float[Array, '']:
    """The neighbour of one view must pick the other view's prediction out of the batch (NNCLR, eq. 3).

    L = mean −log( exp(NN(z_i)·n(p_i)/τ) / Σ_j exp(NN(z_i)·n(p_j)/τ) ), where NN(z_i) is the row of the
    queue nearest to z_i in cosine. The method's loss is ½ of it in each direction.

    Args:
      p: the predictor's output for one view (normalised here).
      z: the projector's output for the other view; it only chooses the neighbour, so no gradient passes.
      queue: earlier embeddings, one a row (normalised here); the current ones are not among them.
      temperature: τ. Paper: 0.1; solo-learn on CIFAR: 0.2.

    Returns:
      Mean loss in nats over the batch, ≥ 0; log(batch) at collapse.

    Convention: each neighbour has a softmax over predictions, as in the paper and solo-learn (not each
    prediction one over neighbours); ties go to the queue's first row.

    Cost: O(batch·(length + batch)·dim); state: the queue, kept by the caller.

    References:
      Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, eq. 3 and 4.
    """
    p, z = pair(p, z, names=('p', 'z'))
    return info_nce_in_batch(nearest(z, queue), p, temperature=temperature)
