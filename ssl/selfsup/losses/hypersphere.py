"""Alignment and uniformity on the hypersphere as a loss."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, pair, positive


def _uniformity(z: Array, t: ArrayLike) -> Array:
    """The log of the mean exp(−t·‖z_i − z_j‖²) over pairs of unit rows."""
    squared = 2.0 - 2.0 * jnp.matmul(z, z.T, precision=HIGHEST)
    itself = jnp.eye(len(z), dtype=bool)
    return jax.nn.logsumexp(jnp.where(itself, -jnp.inf, -t * squared)) - math.log(len(z) * (len(z) - 1))


def hypersphere_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    alpha: ArrayLike = 2.0,
    t: ArrayLike = 2.0,
) -> dict[str, Array]:
    """The terms of :func:`hypersphere`: `alignment` and `uniformity`.

    Args:
      z1, z2, alpha, t: see :func:`hypersphere`.

    Returns:
      The two scalars by name, without weight.

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242.
    """
    positive('alpha', alpha)
    positive('t', t)
    z1, z2 = (normalize(z) for z in pair(z1, z2, rows=2))
    squared = jnp.sum((z1 - z2) ** 2, axis=-1)
    same = squared == 0  # the power's derivative there is infinite for α < 2
    apart = jnp.where(same, 0.0, jnp.where(same, 1.0, squared) ** (alpha / 2.0))
    return {'alignment': jnp.mean(apart), 'uniformity': (_uniformity(z1, t) + _uniformity(z2, t)) / 2.0}


def hypersphere(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    alpha: ArrayLike = 2.0,
    t: ArrayLike = 2.0,
    alignment_weight: ArrayLike = 1.0,
    uniformity_weight: ArrayLike = 1.0,
) -> Float[Array, '']:
    """Views are near on the sphere, and each view is spread over it: L = w_a·L_align + w_u·L_uniform.

        L_align = mean ‖u_i − v_i‖^α,    L_uniform = mean of both views of log mean_{i≠j} exp(−t·‖u_i − u_j‖²).

    Args:
      z1, z2: embeddings of two views, at least two rows (normalised here to u and v).
      alpha: α. Authors: 2.
      t: of the kernel. Authors: 2; lightly: 1.
      alignment_weight, uniformity_weight: Authors' example: 1 and 1.

    Returns:
      A scalar from about −4t (two views of antipodal pairs reach less, see the paper for the optimum); 0 at collapse.

    Convention: uniformity within each view, as in the authors' example, not over both together.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, eq. 1 to 3 of section 4.
    """
    terms = hypersphere_terms(z1, z2, alpha=alpha, t=t)
    return alignment_weight * terms['alignment'] + uniformity_weight * terms['uniformity']
