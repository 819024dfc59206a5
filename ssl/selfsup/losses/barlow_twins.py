"""Barlow Twins: the cross-correlation of two views should be the identity."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import off_diagonal_energy, pair, standardize


def barlow_twins_terms(
    z1: Float[ArrayLike, 'batch dim'], z2: Float[ArrayLike, 'batch dim'], *, eps: ArrayLike = 1e-5
) -> dict[str, Float[Array, '']]:
    """The two parts of :func:`barlow_twins`, unweighted.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows.
      eps: ε added to the variance in the standardisation.

    Returns:
      `on_diagonal`: Σᵢ (Cᵢᵢ − 1)², in [0, 4·dim]; `off_diagonal`: Σ_{i≠j} Cᵢⱼ².

    References:
      Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1 and 2.
    """
    z1, z2 = pair(z1, z2, rows=2)
    z1, z2 = standardize(z1, eps=eps), standardize(z2, eps=eps)
    batch = z1.shape[0]
    diagonal = jnp.mean(z1 * z2, axis=0)
    return {
        'on_diagonal': jnp.sum((diagonal - 1.0) ** 2),
        'off_diagonal': off_diagonal_energy(z1, z2) / float(batch) ** 2,
    }


def barlow_twins(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    lambd: ArrayLike = 5.1e-3,
    scale: ArrayLike = 1.0,
    eps: ArrayLike = 1e-5,
) -> Float[Array, '']:
    """Redundancy reduction: L = Σᵢ (Cᵢᵢ − 1)² + λ Σ_{i≠j} Cᵢⱼ² (eq. 1).

    C = ẑ1ᵀẑ2 / batch, where each view is standardised per column over the batch (mean 0, biased
    variance 1, ε inside the root), as the authors' batch-norm without parameters does.

    Args:
      z1, z2: embeddings of two views of the same images, any scale, at least two rows.
      lambd: λ, the weight of the off-diagonal sum; it is tied to `dim`. Authors: 0.0051 at 8192.
      scale: factor on the whole loss. Authors' code today: 1; before June 2021: 1/32;
        solo-learn's CIFAR recipes: 0.1. The authors' distributed gradient is 1/W of the true one
        on W devices, which LARS hides from matrices but not from biases: `scale=1/W` repeats it.
      eps: ε of the standardisation.

    Returns:
      A dimensionless scalar ≥ 0: 0 when every column of one view repeats in the other and no two
      columns correlate; `dim` at collapse to a constant (all correlations 0).

    Convention: sums over dimensions, not means; the paper's pseudo-code divides by the unbiased
    deviation, the code (and this) by the biased one. stable-pretraining divides by the unbiased deviation
    plus 1e-5 and has λ = 0.005: its correlations are (batch − 1)/batch of these.

    Cost: O(batch·dim·min(dim, 2·batch)); no state.

    References:
      Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1.
    """
    terms = barlow_twins_terms(z1, z2, eps=eps)
    return scale * (terms['on_diagonal'] + lambd * terms['off_diagonal'])
