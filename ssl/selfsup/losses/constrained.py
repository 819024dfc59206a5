"""Clustering with some labels: pairs that belong together or apart, and centres that labels hold (ClusterNet)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import HIGHEST, as_float, matrix, row_labels, same_width


def centre_logits(
    z: Float[ArrayLike, 'batch dim'],
    centres: Float[ArrayLike, 'count dim'],
    *,
    known: Bool[ArrayLike, ' count'] | None = None,
) -> Float[Array, 'batch count']:
    """−‖z − c‖², whose softmax over centres is the probability of a cluster.

    Args:
      z: embeddings as they are.
      centres: one a cluster; no gradient enters them.
      known: which centres there are; the others get the least finite number. None: all.

    Returns:
      Logits ≤ 0; equal at collapse of the centres.

    Cost: O(batch·count·dim); state: centres, kept by the caller.

    References:
      Shukla et al. 2018, https://arxiv.org/abs/1806.01547.
    """
    z, centres = matrix('z', z), matrix('centres', centres)
    same_width('centres', centres, 'z', z)
    centres = jax.lax.stop_gradient(centres.astype(z.dtype))
    apart = jnp.sum((z[:, None] - centres[None]) ** 2, axis=2)
    there = jnp.ones(len(centres), bool) if known is None else jnp.asarray(known)
    return jnp.where(there[None], -apart, jnp.finfo(z.dtype).min)


def pair_divergence(
    logits: Float[ArrayLike, 'batch count'],
    labels: Int[ArrayLike, ' batch'],
    *,
    margin: ArrayLike = 2.0,
) -> Float[Array, '']:
    """Pairs of one label are of one cluster, others are not: by the KL divergence of their probabilities, both ways.

    L = mean over pairs of one label of KL(p‖q) + KL(q‖p), plus the mean over other pairs of max(m − KL(p‖q), 0) +
    max(m − KL(q‖p), 0), with p and q the softmax of the two rows.

    Args:
      logits: scores of the clusters.
      labels: of each row, or a guess of them; a negative one means unknown, and the row is in no pair.
      margin: m, in nats. RahulBaboota's implementation of the paper: 2.

    Returns:
      A scalar from 0, in nats. 2·m at collapse, if there are pairs of two labels; 0 without a pair.

    Convention: each pair of rows counts once; a mean over no pairs is 0.

    Cost: O(batch²·count); no state. Every row depends on the whole batch.

    References:
      Shukla et al. 2018, https://arxiv.org/abs/1806.01547; Hsu and Kira 2016,
      https://arxiv.org/abs/1511.06321.
    """
    logits = matrix('logits', logits)
    labels = row_labels(labels, logits, 'logits')
    log_p = jax.nn.log_softmax(logits, axis=1)
    p = jnp.exp(log_p)
    # KL(p_i‖p_j) = Σ p_i log p_i − Σ p_i log p_j. A probability of 0 has a log of −3e38 at most, which p = 0 removes.
    log_p = jnp.maximum(log_p, -1e4)
    own = jnp.sum(p * log_p, axis=1)
    divergence = jnp.maximum(own[:, None] - jnp.matmul(p, log_p.T, precision=HIGHEST), 0.0)
    known = (labels >= 0)[:, None] & (labels >= 0)[None] & ~jnp.eye(len(labels), dtype=bool)
    same = known & (labels[:, None] == labels[None])
    other = known & ~same

    def mean(terms: Array, which: Array) -> Array:
        # Both orders of a pair are in the matrix, and both directions in its term.
        return 2.0 * jnp.sum(jnp.where(which, terms, 0.0)) / jnp.maximum(jnp.sum(which), 1)

    return mean(divergence, same) + mean(jnp.maximum(margin - divergence, 0.0), other)


def centre_distance(
    z: Float[ArrayLike, 'batch dim'],
    centres: Float[ArrayLike, 'count dim'],
    member: Int[ArrayLike, ' batch'],
) -> Float[Array, '']:
    """k-means' objective with given members: mean of ‖z_i − c_member(i)‖² over the rows that have one.

    Args:
      z: embeddings as they are.
      centres: one a cluster; no gradient enters them.
      member: of each row; a negative number leaves it out.

    Returns:
      A scalar from 0, which it is at collapse of the rows to their centres; 0 without a member.

    Cost: O(batch·dim); state: centres, kept by the caller.

    References:
      Shukla et al. 2018, https://arxiv.org/abs/1806.01547.
    """
    z, centres = matrix('z', z), matrix('centres', centres)
    same_width('centres', centres, 'z', z)
    member = row_labels(member, z)
    own = jax.lax.stop_gradient(centres.astype(z.dtype))[jnp.maximum(member, 0)]
    squares = jnp.sum((z - own) ** 2, axis=1)
    return jnp.sum(jnp.where(member >= 0, squares, 0.0)) / jnp.maximum(jnp.sum(member >= 0), 1)


def moved_centres(
    centres: Float[ArrayLike, 'count dim'],
    counts: Float[ArrayLike, ' count'],
    z: Float[ArrayLike, 'batch dim'],
    member: Int[ArrayLike, ' batch'],
    *,
    weights: Float[ArrayLike, ' batch'] | None = None,
) -> tuple[Float[Array, 'count dim'], Float[Array, ' count']]:
    """Running means of clusters after a batch, c ← (n·c + Σ w·z) / (n + Σ w), and n ← n + Σ w.

    Args:
      centres, counts: c and n before it.
      z: embeddings; no gradient passes.
      member: of each row; a negative number leaves it out.
      weights: w ≥ 0 of each row. None: 1.

    Returns:
      The centres, those without a row as they were, and the counts.

    Convention: the whole batch at once, which gives what row after row gives.

    Cost: O(batch·count·dim); state: centres and counts, kept by the caller.

    References:
      Shukla et al. 2018, https://arxiv.org/abs/1806.01547; Sculley 2010, "web-scale k-means clustering".
    """
    centres, z, counts = matrix('centres', centres), matrix('z', z), as_float('counts', counts)
    same_width('centres', centres, 'z', z)
    member = row_labels(member, z)
    z = jax.lax.stop_gradient(z).astype(centres.dtype)
    given = jnp.ones(len(z), z.dtype) if weights is None else jnp.asarray(weights, z.dtype)
    which = jax.nn.one_hot(member, len(centres), dtype=z.dtype) * given[:, None]
    more = jnp.sum(which, axis=0)
    whole = counts + more
    sums = counts[:, None] * centres + jnp.matmul(which.T, z, precision=HIGHEST)
    return jnp.where((more > 0)[:, None], sums / jnp.where(whole > 0, whole, 1.0)[:, None], centres), whole
