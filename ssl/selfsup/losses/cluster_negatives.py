"""ClusterNS: centroids of other clusters as hard negatives, and bounds for negatives of one's own cluster."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, chosen, matrix, normalize, pair, positive, same_width


def cluster_negatives(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    centroids: Float[ArrayLike, 'clusters dim'],
    *,
    temperature: ArrayLike = 0.05,
    weight: ArrayLike = 1e-3,
    least: ArrayLike = 0.0,
    most: ArrayLike = 0.3,
) -> Float[Array, '']:
    """In-batch contrast with hard negatives from clusters, and a margin for false negatives (ClusterNS).

    Each row's hard negative is its second nearest centroid, stopped; all of them join the negatives of every row. A row
    j of the cluster of i may be a false negative: its cosine should lie below the positive's by `least` to `most`:

        L = CE([cos(z1, z2) | cos(z1, h)] / τ) + w·mean_ij m_ij·(relu(Δ_ij + least) + relu(−Δ_ij − most)),

    with Δ_ij = cos(z1ᵢ, z2ⱼ) − cos(z1ᵢ, z2ᵢ) and m_ij = 1 for i ≠ j of one cluster.

    Args:
      z1, z2: embeddings of two views (normalised here).
      centroids: of the clusters, at least two; no gradient passes.
      temperature: τ > 0. Authors: 0.05.
      weight: w. Authors: 5e-5 to 1e-2.
      least, most: α and β, 0 ≤ α < β. Authors: 0 to 0.25, and 0.2 to 0.6.

    Returns:
      A scalar in nats, ≥ 0.

    Convention: one direction. The authors' mean also counts relu(α) for pairs of other clusters, a constant.

    Cost: O(batch·(batch + clusters)·dim); state: the centroids, kept by the caller (:func:`moved_centroids`).

    References:
      Deng et al. 2023, https://arxiv.org/abs/2305.09892, section 3.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2)
    centroids = matrix('centroids', centroids, rows=2)
    same_width('centroids', centroids, 'z1', z1)
    z1, z2 = normalize(z1), normalize(z2)
    centroids = normalize(jax.lax.stop_gradient(centroids.astype(z1.dtype)))
    _, nearest = jax.lax.top_k(jnp.matmul(jax.lax.stop_gradient(z1), centroids.T, precision=HIGHEST), 2)
    cosines = jnp.matmul(z1, z2.T, precision=HIGHEST)
    hard = jnp.matmul(z1, centroids[nearest[:, 1]].T, precision=HIGHEST)
    itself = jnp.eye(z1.shape[0], dtype=bool)
    positives = chosen(cosines, itself)
    logits = jnp.concatenate([cosines, hard], axis=1) / temperature
    contrast = jnp.mean(jax.nn.logsumexp(logits, axis=1) - positives / temperature)
    apart = cosines - positives[:, None]
    margin = jnp.maximum(apart + least, 0.0) + jnp.maximum(-apart - most, 0.0)
    false = (nearest[:, :1] == nearest[:, 0][None]) & ~itself
    return contrast + weight * jnp.mean(jnp.where(false, margin, 0.0))


def moved_centroids(
    z: Float[ArrayLike, 'batch dim'], centroids: Float[ArrayLike, 'clusters dim'], *, rate: ArrayLike = 0.05
) -> Float[Array, 'clusters dim']:
    """Centroids moved towards the mean of the unit rows that are nearest to them, unit again; others stay. No gradient.

    Args:
      z: embeddings of a batch (normalised here).
      centroids: unit rows.
      rate: share of the mean. The authors move centroids by AdamW (1e-3) on the squared distance instead.

    Returns:
      Unit rows `[clusters, dim]`.

    Cost: O(batch·clusters·dim).

    References:
      Deng et al. 2023, https://arxiv.org/abs/2305.09892, section 3.
    """
    z, centroids = (jax.lax.stop_gradient(matrix(n, a)) for n, a in (('z', z), ('centroids', centroids)))
    z = normalize(z)
    own = jnp.argmax(jnp.matmul(z, normalize(centroids).T, precision=HIGHEST), axis=1)
    member = jax.nn.one_hot(own, centroids.shape[0], dtype=z.dtype)
    count = jnp.sum(member, axis=0)[:, None]
    mean = jnp.matmul(member.T, z, precision=HIGHEST) / jnp.maximum(count, 1.0)
    return jnp.where(count > 0, normalize((1.0 - rate) * centroids + rate * mean), centroids)
