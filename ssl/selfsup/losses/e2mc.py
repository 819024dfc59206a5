"""E2MC: maximum-entropy coding of embeddings by marginal entropies and a covariance, for continued pre-training."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import matrix, off_diagonal_energy

SQUASHES = {'normal': jax.scipy.stats.norm.cdf, 'sigmoid': jax.nn.sigmoid}


def e2mc_terms(
    z: Float[ArrayLike, 'batch dim'], *, squash: str = 'normal', eps: ArrayLike = 1e-7
) -> dict[str, Float[Array, '']]:
    """Entropy and covariance of embeddings that were brought to the unit cube, u = Φ(z) or sigmoid(z).

    Entropy is estimated by spacings: with u sorted in each dimension and m = round(√batch),
    Ĥ = mean_i log((u_(i+m) − u_(i))·(batch + 1)/m + ε), averaged over dimensions.

    Args:
      z: embeddings of one view, neither normalised nor standardised, at least two rows.
      squash: 'normal', the standard normal's distribution function, for which the optimum is the standard normal
        (authors: SwAV, SimSiam), or 'sigmoid' (authors: VICReg).
      eps: ε. Authors: 1e-7 (VICReg), 1.2e-7.

    Returns:
      `entropy`, mean over dimensions, about 0 for uniform u and log ε at collapse; `covariance` ≥ 0,
      Σ_{i≠j} Cov(u)²ᵢⱼ / dim with the unbiased covariance.

    Cost: O(batch·dim·(log batch + min(dim, batch))); no state.

    References:
      Chakraborty et al. 2025, https://arxiv.org/abs/2411.15931, section 3; Vasicek 1976 (spacings).
    """
    z = matrix('z', z, rows=2)
    if squash not in SQUASHES:
        raise ValueError(f'squash must be one of {tuple(SQUASHES)}, not {squash!r}')
    u = SQUASHES[squash](z)
    batch, dim = u.shape
    u = u - jnp.mean(u, axis=0, keepdims=True)
    gap = round(batch**0.5)
    ordered = jnp.sort(u, axis=0)
    spacings = (ordered[gap:] - ordered[:-gap]) * ((batch + 1) / gap)
    # Spacings of equal values are 0, whose logarithm would have a gradient of 1/ε for each row.
    spacings = jnp.where(spacings > 0, spacings, jax.lax.stop_gradient(spacings))
    return {
        'entropy': jnp.mean(jnp.log(spacings + eps)),
        'covariance': off_diagonal_energy(u, u) / (float(batch - 1) ** 2 * dim),
    }


def e2mc(
    z: Float[ArrayLike, 'batch dim'],
    *,
    entropy_weight: ArrayLike = 10.0,
    covariance_weight: ArrayLike = 1.0,
    squash: str = 'normal',
    eps: ArrayLike = 1e-7,
) -> Float[Array, '']:
    """Effective entropy maximisation of one view: γ·covariance − β·entropy, added to the loss of a finished run.

    Args:
      z: embeddings of one view, neither normalised nor standardised.
      entropy_weight, covariance_weight: β and γ. Authors: 10 and 1 (VICReg, SwAV), 1 and 25 (SimSiam).
      squash, eps: of :func:`e2mc_terms`.

    Returns:
      A scalar, about 0 for independent marginals of the squash's own distribution, −β·log ε at collapse.

    Convention: the authors take the mean of the two views' entropies and the sum of their covariances.

    Cost: that of :func:`e2mc_terms`; no state.

    References:
      Chakraborty et al. 2025, https://arxiv.org/abs/2411.15931, section 3.
    """
    terms = e2mc_terms(z, squash=squash, eps=eps)
    return covariance_weight * terms['covariance'] - entropy_weight * terms['entropy']
