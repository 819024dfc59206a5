"""Triplets of clusters with weighted positives (JULE, Yang et al. 2016)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, matrix, normalize, row_labels


def weighted_triplet(
    z: Float[ArrayLike, 'batch dim'],
    clusters: Int[ArrayLike, ' batch'],
    lots: Float[ArrayLike, 'batch batch'],
    *,
    margin: ArrayLike = 0.2,
    positive_weight: ArrayLike = 1.0,
    negatives: int = 20,
) -> Float[Array, '']:
    """Rows of one cluster nearer than random rows of others: mean of max(γ‖n_i − n_j‖² − ‖n_i − n_k‖² + m, 0).

    The mean is over triplets of an anchor i, another row j of its cluster and each k of `negatives` random rows of
    other clusters.

    Args:
      z: embeddings, any norm (normalised here: n).
      clusters: of each row; a negative number means none, and the row is in no triplet.
      lots: numbers in [0, 1); an anchor's negatives are the rows of other clusters with the largest in its row.
      margin: m. Authors: 0.2.
      positive_weight: γ. Authors: 1, up to 2.
      negatives: of an anchor, fewer where there are not so many. Authors: 20.

    Returns:
      A scalar from 0; the margin at collapse; 0 without a triplet.

    Convention: an anchor has the same negatives for all its positives, and both rows of a pair are anchors; the authors
    draw negatives for each pair and take one row of it.

    Cost: O(batch²·(dim + negatives)) time and memory; no state. Every row depends on the whole batch.

    References:
      Yang et al. 2016, https://arxiv.org/abs/1604.03628; `TripletEmbedding.lua` of the authors.
    """
    z = normalize(matrix('z', z, rows=2))
    clusters, lots = row_labels(clusters, z), jax.lax.stop_gradient(jnp.asarray(lots, z.dtype))
    if lots.shape != (len(z), len(z)):
        raise ValueError(f'lots must have shape {[len(z), len(z)]}, not {list(lots.shape)}')
    if negatives < 1:
        raise ValueError(f'negatives must be at least 1, not {negatives}')
    distance = 2.0 - 2.0 * jnp.matmul(z, z.T, precision=HIGHEST)
    known = (clusters >= 0)[:, None] & (clusters >= 0)[None]
    same = known & (clusters[:, None] == clusters[None])
    drawn, index = jax.lax.top_k(jnp.where(known & ~same, lots, -1.0), min(negatives, len(z) - 1))
    far = jnp.take_along_axis(distance, index, axis=1)
    counted = (same & ~jnp.eye(len(z), dtype=bool))[:, :, None] & (drawn >= 0)[:, None]
    terms = jnp.maximum(positive_weight * distance[:, :, None] - far[:, None] + margin, 0.0)
    return jnp.sum(jnp.where(counted, terms, 0.0)) / jnp.maximum(jnp.sum(counted), 1)
