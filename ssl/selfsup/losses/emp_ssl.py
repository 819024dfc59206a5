"""EMP-SSL: many patches near their mean, and a large coding rate."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, positive, several


def coding_rate(z: Float[Array, 'batch dim'], eps: ArrayLike) -> Float[Array, '']:
    """½·log det(I + dim / (batch·ε) · ZᵀZ), of the smaller of ZᵀZ and ZZᵀ, which share it."""
    batch, dim = z.shape
    gram = jnp.matmul(z.T, z, precision=HIGHEST) if dim <= batch else jnp.matmul(z, z.T, precision=HIGHEST)
    factor = jnp.linalg.cholesky(jnp.eye(len(gram), dtype=z.dtype) + dim / (batch * eps) * gram)
    return jnp.sum(jnp.log(jnp.diagonal(factor)))


def emp_ssl_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    eps: ArrayLike = 0.2,
    normalized: bool = True,
) -> dict[str, Array]:
    """The terms of :func:`emp_ssl`: `invariance`, −mean cos(z_v, z̄), and `coding_rate`, mean R(Z_v).

    Args:
      z1, z2, more, eps, normalized: see :func:`emp_ssl`.

    Returns:
      The two scalars by name, without weight or sign.

    References:
      Tong et al. 2023, https://arxiv.org/abs/2304.03977, section 2.
    """
    positive('eps', eps)
    views = several(z1, z2, *more)
    views = tuple(normalize(z) for z in views) if normalized else views
    mean = normalize(sum(views) / len(views))
    return {
        'invariance': -sum(jnp.mean(jnp.sum(normalize(z) * mean, axis=-1)) for z in views) / len(views),
        'coding_rate': sum(coding_rate(z, eps) for z in views) / len(views),
    }


def emp_ssl(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    invariance_weight: ArrayLike = 200.0,
    eps: ArrayLike = 0.2,
    normalized: bool = True,
) -> Float[Array, '']:
    """Each view along the mean of the views, and the coding rate of each view's batch, R(Z) = ½·log det(I + …).

        L = −λ·mean_v cos(z_v, z̄) − mean_v ½·log det(I + dim / (batch·ε) · Z_vᵀZ_v).

    Args:
      z1, z2, more: embeddings of the views, any number from two.
      invariance_weight: λ. Authors: 200.
      eps: ε, which the paper squares and the authors' code does not. Authors: 0.2.
      normalized: rows are scaled to unit length first, as the authors' network does; else they are taken as they are.

    Returns:
      A scalar; normalised, from −λ − ½·min(batch, dim)·log(1 + dim / (min(batch, dim)·ε)), and
      −λ − ½·log(1 + dim / ε) at collapse.

    Convention: the coding rate is maximised, as in the paper and the authors' code. lightly adds it with the opposite
    sign.

    Cost: O(views·(batch·dim·min(batch, dim) + min(batch, dim)³)); no state.

    References:
      Tong et al. 2023, https://arxiv.org/abs/2304.03977, section 2.
    """
    terms = emp_ssl_terms(z1, z2, *more, eps=eps, normalized=normalized)
    return invariance_weight * terms['invariance'] - terms['coding_rate']
