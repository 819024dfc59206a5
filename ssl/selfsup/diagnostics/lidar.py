"""LiDAR: the rank of what tells images apart, in units of what augmentation does to them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float
from .spectrum import exp_entropy
from .summary import Summary, empty_summary, merge_summaries, summarize, update_summary


class LidarSummary(NamedTuple):
    """What LiDAR keeps of a set of images seen in one pass: their means, and the views about them."""

    means: Summary
    residuals: Summary


def _views(z) -> Array:
    z = as_float('z', z)
    if z.ndim != 3 or z.shape[0] < 1 or z.shape[1] < 2 or z.shape[2] < 1:
        raise ValueError(f'z must have shape [images, views, dim] with at least two views, not {list(z.shape)}')
    return z


def empty_lidar(dim: int, *, dtype=jnp.float32) -> LidarSummary:
    """The summary of no images."""
    return LidarSummary(empty_summary(dim, dtype=dtype), empty_summary(dim, dtype=dtype))


def update_lidar(summary: LidarSummary, z: Float[ArrayLike, 'images views dim']) -> LidarSummary:
    """The summary of the images so far and those of `z`, whose views must all be in it.

    Cost: O((images·views + dim)·dim²).
    """
    z = _views(z)
    means = jnp.mean(z, axis=1)
    residuals = (z - means[:, None]).reshape(-1, z.shape[2])
    return LidarSummary(update_summary(summary.means, means), update_summary(summary.residuals, residuals))


def merge_lidar(a: LidarSummary, b: LidarSummary) -> LidarSummary:
    """The summary of the images of both."""
    return LidarSummary(merge_summaries(a.means, b.means), merge_summaries(a.residuals, b.residuals))


def lidar(
    z: Float[ArrayLike, 'images views dim'] | LidarSummary, *, delta: ArrayLike = 1e-4, eps: ArrayLike = 1e-8
) -> Float[Array, '']:
    """LiDAR: exp of the entropy of the eigenvalues of Σ_w^−½ Σ_b Σ_w^−½ (linear discriminant analysis).

    Each image is a class and its augmented views are the samples: Σ_b = Σᵢ(μᵢ − μ)(μᵢ − μ)ᵀ/(n − 1),
    Σ_w = Σᵢⱼ(zᵢⱼ − μᵢ)(zᵢⱼ − μᵢ)ᵀ/(n(q − 1)) + δI, and p = λ/‖λ‖₁ + ε, not renormalised. Computed from
    R factors and a triangular solve, so nothing is squared.

    Args:
      z: embeddings of q ≥ 2 views of each of n ≥ 2 images, or a summary. Paper: n = 1000 and q = 50;
        n > dim for full rank, q·n at least some times dim.
      delta: δ, ridge of Σ_w, in squared units of the embeddings: what lies below √δ counts as noise,
        so LiDAR is not blind to scale. Other libraries also use 1e-5.
      eps: ε, outside the fraction. Some libraries write (λ + ε)/Σ(λ + ε) instead.

    Returns:
      A scalar from 1 to min(n − 1, dim): at full collapse exp(−dim·ε·log ε) ≈ 1; on a line 1. Isotropic
      noise without any relation to the image gives about dim too, once n ≫ dim: only the shape of the
      spectrum counts, not its size. Read it beside `relative_alignment`.

    Cost: O(n·q·dim²).

    References:
      Thilak et al. 2023, https://arxiv.org/abs/2312.04000, eqs. 1 to 3.
    """
    if not isinstance(z, LidarSummary):
        z = _views(z)
        if z.shape[0] < 2:
            raise ValueError(f'z needs at least two images, and has shape {list(z.shape)}')
        means = jnp.mean(z, axis=1)
        residuals = (z - means[:, None]).reshape(-1, z.shape[2])
        z = LidarSummary(summarize(means), summarize(residuals))
        views = residuals.shape[0] / means.shape[0]
    else:
        views = z.residuals.count / z.means.count
    images, dim, dtype = z.means.count, z.means.mean.shape[0], z.means.mean.dtype
    within = z.residuals.factor / jnp.sqrt(images * (views - 1.0))
    ridge = jnp.sqrt(jnp.asarray(delta, dtype)) * jnp.eye(dim, dtype=dtype)
    root = jnp.linalg.qr(jnp.concatenate([within, ridge]), mode='r')  # rootᵀ root = Σ_w
    # singular values of Σ_b^½ root⁻¹: solve rootᵀ x = (Σ_b^½)ᵀ
    between = z.means.factor / jnp.sqrt(jnp.maximum(images - 1.0, 1.0))
    sigma = jnp.linalg.svd(jax.scipy.linalg.solve_triangular(root, between.T, trans='T'), compute_uv=False)
    return exp_entropy(sigma * sigma, eps=eps)
