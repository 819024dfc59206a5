"""FroSSL: views near their mean, and a covariance with small Frobenius norm, in logarithms."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, several


def _log_energy(z: Array) -> Array:
    """The log of ‖ZᵀZ‖²_F / (tr ZᵀZ)², by the smaller product; 0 without gradient where Z is zero."""
    gram = jnp.matmul(z.T, z, precision=HIGHEST) if z.shape[0] > z.shape[1] else jnp.matmul(z, z.T, precision=HIGHEST)
    energy, trace = jnp.sum(gram * gram), jax.lax.stop_gradient(jnp.trace(gram))
    empty = energy == 0
    return jnp.where(empty, 0.0, jnp.log(jnp.where(empty, 1.0, energy)) - 2.0 * jnp.log(jnp.where(empty, 1.0, trace)))


def frossl_terms(
    z1: Float[ArrayLike, 'batch dim'], z2: Float[ArrayLike, 'batch dim'], *more: Float[ArrayLike, 'batch dim']
) -> dict[str, Array]:
    """The terms of :func:`frossl`: `regularisation`, Σ_v log energies, and `invariance`.

    Args:
      z1, z2, more: see :func:`frossl`.

    Returns:
      The two scalars by name, without weight.

    References:
      Skean et al. 2024, https://arxiv.org/abs/2310.02903, eq. 3 and 6.
    """
    views = jnp.stack([normalize(z.T).T for z in several(z1, z2, *more)])
    apart = jnp.mean((views - jnp.mean(views, axis=0, keepdims=True)) ** 2, axis=(1, 2))
    return {
        'regularisation': sum(_log_energy(z) for z in views),
        'invariance': views.shape[0] * views.shape[2] * jnp.sum(apart),
    }


def frossl(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    invariance_weight: ArrayLike = 1.0,
) -> Float[Array, '']:
    """Frobenius-norm minimisation over V views whose columns have unit length over the batch.

        L = Σ_v log( ‖Z_vᵀZ_v‖²_F / (tr Z_vᵀZ_v)² ) + w·V·dim·Σ_v mean (Z_v − Z̄)².

    Args:
      z1, z2, more: embeddings of the views, any scale (each column normalised here, not centred).
      invariance_weight: w. Authors: 1, with 2 and more views.

    Returns:
      A scalar from −V·log min(batch, dim), where all directions share the energy; 0 at collapse.

    Convention: the authors' multi-view form, which their method calls with two views too, and lightly's; their
    two-view function standardises columns first. The trace carries no gradient, as there; it is `dim` and constant
    unless a column is zero.

    Cost: O(views·batch·dim·min(batch, dim)); no state.

    References:
      Skean et al. 2024, https://arxiv.org/abs/2310.02903, eq. 3 and 6.
    """
    terms = frossl_terms(z1, z2, *more)
    return terms['regularisation'] + invariance_weight * terms['invariance']
