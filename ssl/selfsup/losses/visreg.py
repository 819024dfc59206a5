"""VISReg: views agree, and centre, scale and shape of the embeddings are regularised apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, drawn_to_mean, matrix, normalize, same_width, several


def centre_scale_shape(
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


def visreg_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    centres: int = 0,
    eps: ArrayLike = 1e-4,
    stop_scale: bool = True,
) -> dict[str, Float[Array, '']]:
    """The four parts of :func:`visreg`, unweighted.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, not normalised.
      directions, eps, stop_scale: of :func:`centre_scale_shape`; the same directions serve all views.
      centres: how many of the first views make up the mean that all are drawn to; 0 takes all.

    Returns:
      `invariance`: mean over views, batch and dims of (z_v − mean_v z)²; `centre`, `scale` and `shape`: their means
      over views.

    References:
      Wu et al. 2026, https://arxiv.org/abs/2606.02572.
    """
    views = several(z1, z2, *more)
    parts = [centre_scale_shape(z, directions, eps=eps, stop_scale=stop_scale) for z in views]
    means = {name: sum(part[name] for part in parts) / len(views) for name in parts[0]}
    return {'invariance': drawn_to_mean(views, centres), **means}


def visreg(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    lambd: ArrayLike = 0.9,
    centres: int = 0,
    eps: ArrayLike = 1e-4,
    stop_scale: bool = True,
) -> Float[Array, '']:
    """L = (1 − λ)·mean (z_v − mean_v z)² + λ·(centre + scale + shape): views agree, embeddings are standard normal.

    Neither negatives, nor stop-gradient between views, nor teacher.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, not normalised.
      directions, eps, stop_scale: of :func:`centre_scale_shape`.
      lambd: λ in [0, 1]. Authors: 0.9 on ImageNet, 0.6 on Imagenette.
      centres: how many of the first views (the authors': the global crops) make up the mean; 0 takes all.

    Returns:
      A scalar ≥ 0; at collapse to one point c, λ·(mean c² + 1 + the mean squared quantile), the last near 1.

    Convention: statistics of the whole batch, as the authors gather it; lightly's are those of one device.

    Cost: `views` times :func:`centre_scale_shape`; no state.

    References:
      Wu et al. 2026, https://arxiv.org/abs/2606.02572.
    """
    terms = visreg_terms(z1, z2, *more, directions=directions, centres=centres, eps=eps, stop_scale=stop_scale)
    invariance = terms.pop('invariance')
    return (1.0 - lambd) * invariance + lambd * sum(terms.values())
