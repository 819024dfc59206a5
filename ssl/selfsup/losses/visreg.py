"""VISReg's regulariser: centre, scale and shape of the embeddings apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, same_width


def visreg_terms(
    z: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    *,
    eps: ArrayLike = 1e-4,
    stop_scale: bool = True,
) -> dict[str, Float[Array, '']]:
    """How far embeddings are from the standard normal, in three parts that do not act on one another.

    `centre` is mean_d µ_d²; `scale` mean_d (1 − σ_d)²; `shape` the squared Wasserstein distance of the rows
    (z − µ) / (σ + ε), projected on each direction, to the normal: mean of (x_(i) − Φ⁻¹(i / (batch + 1)))² over sorted
    projections and directions. σ has ddof 0.

    Args:
      z: embeddings of one view, not normalised.
      directions: one a row (normalised here), drawn anew for every step. Authors: 4096.
      eps: ε of the shape.
      stop_scale: whether σ carries no gradient in the shape, so that the shape does not act on the scale.

    Returns:
      The three parts, dimensionless and ≥ 0. At collapse to one point c: mean c², 1, and the mean squared quantile,
      which tends to 1 with the batch.

    Cost: O(batch·count·(dim + log batch)); no state.

    References:
      Wu et al. 2026, https://arxiv.org/abs/2606.02572, eq. 1, 5 and 6.
    """
    z, directions = matrix('z', z), matrix('directions', directions)
    same_width('directions', directions, 'z', z)
    mean = jnp.mean(z, axis=0, keepdims=True)
    centred = z - mean
    variance = jnp.mean(centred**2, axis=0, keepdims=True)
    varied = variance > 0  # the root has no gradient at 0
    deviation = jnp.where(varied, jnp.sqrt(jnp.where(varied, variance, 1.0)), 0.0)
    rows = centred / ((jax.lax.stop_gradient(deviation) if stop_scale else deviation) + eps)
    projected = jnp.matmul(rows, normalize(directions.astype(z.dtype)).T, precision=HIGHEST)
    places = jnp.arange(1, len(z) + 1, dtype=z.dtype) / (len(z) + 1)
    quantiles = jax.scipy.stats.norm.ppf(places)[:, None]
    return {
        'centre': jnp.mean(mean**2),
        'scale': jnp.mean((1.0 - deviation) ** 2),
        'shape': jnp.mean((jnp.sort(projected, axis=0) - quantiles) ** 2),
    }
