"""VIbCReg: VICReg whose covariance term sees standardised columns."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import deviation_hinge, normalize, off_diagonal_energy, pair


def vibcreg_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    target: ArrayLike = 1.0,
    halve_variance: bool = False,
    eps: ArrayLike = 1e-4,
) -> dict[str, Float[Array, '']]:
    """The three parts of :func:`vibcreg`, unweighted.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows.
      target: γ, the standard deviation below which the hinge acts.
      halve_variance: whether the two views' hinges are averaged or summed.
      eps: ε under the root of the standard deviation.

    Returns:
      `invariance` ≥ 0, `variance` in [0, 2γ] (half that if averaged), `covariance` in [0, 2].

    References:
      Lee and Aune 2021, https://arxiv.org/abs/2109.00783, section 3.
    """
    z1, z2 = pair(z1, z2, rows=2)
    dim = z1.shape[1]
    hinge, covariance = jnp.zeros((), z1.dtype), jnp.zeros((), z1.dtype)
    for z in (z1, z2):
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        hinge += deviation_hinge(centred, target=target, eps=eps)
        columns = jax.checkpoint(lambda x: normalize(x.T).T)(centred)  # cheaper to repeat than to keep
        covariance += off_diagonal_energy(columns, columns) / float(dim) ** 2
    return {
        'invariance': jnp.mean((z1 - z2) ** 2),
        'variance': hinge / 2 if halve_variance else hinge,
        'covariance': covariance,
    }


def vibcreg(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    invariance_weight: ArrayLike = 25.0,
    variance_weight: ArrayLike = 25.0,
    covariance_weight: ArrayLike = 200.0,
    target: ArrayLike = 1.0,
    halve_variance: bool = False,
    eps: ArrayLike = 1e-4,
) -> Float[Array, '']:
    """Variance-invariance-better-covariance regularisation: L = λ·s + µ·v + ν·c.

    s and v are VICReg's: the mean squared difference and the hinge on each column's unbiased standard
    deviation. c = Σ_views Σ_{i≠j} ρ²ᵢⱼ / dim² with ρ the correlation of columns i and j within a view:
    unlike a covariance it cannot be lowered by shrinking the columns.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows; not normalised.
      invariance_weight, variance_weight, covariance_weight: λ, µ, ν. solo-learn: 25, 25, 200.
      target: γ of the hinge.
      halve_variance: False as in solo-learn (the views' hinges are summed); True averages them.
      eps: ε under the root.

    Returns:
      A scalar ≥ 0; 2µ·(γ − √ε) = 49.5 with the defaults at collapse to a constant; 0 for aligned,
      uncorrelated columns of deviation at least γ.

    Convention: c is a mean over all dim² entries, VICReg's a sum over dim. The paper also whitens the
    embeddings by iterative normalisation; that is a layer of the projector, not of the loss.

    Cost: O(batch·dim·min(dim, 2·batch)); no state.

    References:
      Lee and Aune 2021, https://arxiv.org/abs/2109.00783, section 3.
    """
    terms = vibcreg_terms(z1, z2, target=target, halve_variance=halve_variance, eps=eps)
    return (
        invariance_weight * terms['invariance']
        + variance_weight * terms['variance']
        + covariance_weight * terms['covariance']
    )
