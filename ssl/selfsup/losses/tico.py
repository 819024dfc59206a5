"""TiCo: invariance, and a moving covariance that embeddings should not line up with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, as_float, normalize, pair


def tico(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    covariance: Float[ArrayLike, 'dim dim'],
    *,
    beta: ArrayLike = 0.9,
    rho: ArrayLike = 20.0,
    centred: bool = False,
    stop_moment: bool = False,
) -> tuple[Float[Array, ''], Float[Array, 'dim dim']]:
    """Transformation invariance and covariance contrast: L = 1 − mean z1·z2 + ρ·mean z1ᵀ C z1.

    C ← β·C + (1 − β)·Z1ᵀZ1 / batch is updated before it is used and the gradient flows through the
    new part of it, as in the paper's pseudo-code.

    Args:
      z1: embeddings of one view (normalised here).
      z2: embeddings of the other view from the momentum encoder (normalised here; the caller stops
        their gradient).
      covariance: C of the step before; zeros at the start.
      beta: β, the share of the old C. Paper: 0.9.
      rho: ρ, the weight of the contrast. Paper: 20 (8 for longer training).
      centred: subtract the batch mean from each view first, as some ports do; the paper does not.
      stop_moment: no gradient through the new part of C either, as in lightly: the same value, and at the
        start, when C is all new, half the contrast's gradient.

    Returns:
      The dimensionless loss, in [0, 2 + ρ], and the new C (no gradient). At collapse to a constant: ρ
      once C has converged; at best 0 + ρ·Σλ² with λ the eigenvalues of C, which sum to 1.

    Convention: C is a second moment about zero, and the term for it is not halved. stable-pretraining
    has another loss: 2 − 2·cos for the invariance, and in C the unbiased covariance of both views'
    normalised rows, without gradient.

    Cost: O(batch·dim²). mean z1ᵀ C z1 = Σ C∘B with B = Z1ᵀZ1 / batch, the product that the update needs
    anyway; with batch ≤ dim it is β·mean z1ᵀ C_old z1 + (1 − β)·‖Z1Z1ᵀ‖² / batch² instead, whose gradient
    holds no `dim × dim` array (a seventh of the memory at 256 × 4096). State: C, kept by the caller.

    References:
      Zhu et al. 2022, https://arxiv.org/abs/2206.10698, algorithm 1.
    """
    z1, z2 = pair(z1, z2)
    covariance = as_float('covariance', covariance)
    if covariance.shape != (z1.shape[1],) * 2:
        raise ValueError(f'covariance must have shape {[z1.shape[1]] * 2} for z1 of {list(z1.shape)}, '
                         f'not {list(covariance.shape)}')  # fmt: skip
    if centred:
        z1, z2 = (z - jnp.mean(z, axis=0, keepdims=True) for z in (z1, z2))
    z1, z2 = normalize(z1), normalize(z2)
    batch, dim = z1.shape
    old = jax.lax.stop_gradient(covariance).astype(z1.dtype)
    moment = jnp.matmul(z1.T, z1, precision=HIGHEST) / batch
    new = beta * old + (1.0 - beta) * (jax.lax.stop_gradient(moment) if stop_moment else moment)
    if batch <= dim:
        gram = jnp.matmul(z1, (jax.lax.stop_gradient(z1) if stop_moment else z1).T, precision=HIGHEST)
        past = jnp.sum(jnp.matmul(z1, old, precision=HIGHEST) * z1) / batch
        contrast = beta * past + (1.0 - beta) * jnp.sum(gram * gram) / float(batch) ** 2
    else:
        contrast = jnp.sum(new * moment)
    loss = 1.0 - jnp.mean(jnp.sum(z1 * z2, axis=-1)) + rho * contrast
    return loss, jax.lax.stop_gradient(new)
