"""VICReg: variance, invariance, covariance."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import deviation_hinge, off_diagonal_energy, pair


def vicreg_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    target: ArrayLike = 1.0,
    halve_variance: bool = True,
    eps: ArrayLike = 1e-4,
) -> dict[str, Float[Array, '']]:
    """The three parts of :func:`vicreg`, unweighted.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows.
      target: γ, the standard deviation below which the hinge acts.
      halve_variance: whether the two views' hinges are averaged or summed.
      eps: ε under the root of the standard deviation.

    Returns:
      `invariance` ≥ 0, `variance` in [0, γ] (twice that if summed), `covariance` ≥ 0.

    References:
      Bardes et al. 2022, https://arxiv.org/abs/2105.04906, eq. 1, 3, 4 and 5.
    """
    z1, z2 = pair(z1, z2, rows=2)
    batch, dim = z1.shape
    hinge, covariance = jnp.zeros((), z1.dtype), jnp.zeros((), z1.dtype)
    for z in (z1, z2):
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        hinge += deviation_hinge(centred, target=target, eps=eps)
        covariance += off_diagonal_energy(centred, centred) / (float(batch - 1) ** 2 * dim)
    return {
        'invariance': jnp.mean((z1 - z2) ** 2),
        'variance': hinge / 2 if halve_variance else hinge,
        'covariance': covariance,
    }


def vicreg(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    invariance_weight: ArrayLike = 25.0,
    variance_weight: ArrayLike = 25.0,
    covariance_weight: ArrayLike = 1.0,
    target: ArrayLike = 1.0,
    halve_variance: bool = True,
    eps: ArrayLike = 1e-4,
) -> Float[Array, '']:
    """Variance-invariance-covariance regularisation: L = λ·s + µ·v + ν·c (eq. 6, in the code's units).

    s = mean over batch and dims of (z1 − z2)²; v = ½ Σ_views mean_d max(0, γ − √(Var_d + ε)) with the
    unbiased variance (ddof 1); c = Σ_views Σ_{i≠j} Cov²ᵢⱼ / dim with the unbiased covariance.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows; not normalised.
      invariance_weight, variance_weight, covariance_weight: λ, µ, ν.
      target: γ of the hinge.
      halve_variance: True as in the authors' code and lightly; False (the sum over views) as in
        solo-learn and in the paper's text, so that solo-learn's 25/25/1 is the authors' 25/50/1.
      eps: ε under the root.

    Returns:
      A scalar ≥ 0 in units of squared embedding; µ·(γ − √ε) = 24.75 with the defaults at collapse
      to a constant; 0 for aligned, uncorrelated columns of deviation at least γ.

    Convention: the invariance is a mean over dims, as in the code (the paper's eq. 5 sums them, which
    ties λ to `dim`); the covariance is summed over the two views, not halved.

    Cost: O(batch·dim·min(dim, batch)); no state.

    References:
      Bardes et al. 2022, https://arxiv.org/abs/2105.04906, eq. 6.
    """
    terms = vicreg_terms(z1, z2, target=target, halve_variance=halve_variance, eps=eps)
    return (
        invariance_weight * terms['invariance']
        + variance_weight * terms['variance']
        + covariance_weight * terms['covariance']
    )
