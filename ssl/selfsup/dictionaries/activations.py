"""What makes pre-activations of units sparse: top-k of rows and of batches, thresholds, gates, the simplex."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float, count


def _placed(a: Array, which: Array) -> Array:
    """`a` at the places `which` of each row, 0 elsewhere."""
    rows = jnp.arange(a.shape[0])[:, None]
    return jnp.zeros_like(a).at[rows, which].set(jnp.take_along_axis(a, which, axis=1))


def top_k(a: Float[ArrayLike, 'batch units'], *, active: int) -> Float[Array, 'batch units']:
    """The `active` largest of each row, none below 0; the others are 0 (TopK).

    The gradient is that of the units kept, with the choice held fixed. Of equals the first are kept.

    Args:
      a: pre-activations.
      active: units kept of each row.

    Raises:
      ValueError: more active units than units.

    References:
      Gao et al. 2024, https://arxiv.org/abs/2406.04093, eq. 4; the authors' code takes the maximum with 0 too.
    """
    a = as_float('a', a)
    count('active', active, a.shape[1], a.shape, of='units of a')
    a = jnp.maximum(a, 0.0)
    return _placed(a, jax.lax.top_k(jax.lax.stop_gradient(a), active)[1])


def abs_top_k(a: Float[ArrayLike, 'batch units'], *, active: int) -> Float[Array, 'batch units']:
    """The `active` entries of each row that are largest in magnitude, with their signs (AbsTopK).

    Args:
      a: pre-activations.
      active: units kept of each row.

    Raises:
      ValueError: more active units than units.

    References:
      Zhu et al. 2025, https://arxiv.org/abs/2510.00404, the proximal map of an ℓ0 constraint.
    """
    a = as_float('a', a)
    count('active', active, a.shape[1], a.shape, of='units of a')
    return _placed(a, jax.lax.top_k(jax.lax.stop_gradient(jnp.abs(a)), active)[1])


def batch_top_k(
    a: Float[ArrayLike, 'batch units'], *, active: int
) -> tuple[Float[Array, 'batch units'], Float[Array, '']]:
    """The `active`·batch largest entries of a batch, none below 0; a row may keep more or fewer (BatchTopK).

    Every row depends on the whole batch. Equals of the smallest that is kept are kept too.

    Args:
      a: pre-activations.
      active: units kept of a row on average.

    Returns:
      The codes, and the smallest entry above 0 that is kept, without gradient; 0 where none is.

    Raises:
      ValueError: more active units than units.

    References:
      Bussmann et al. 2024, https://arxiv.org/abs/2412.06410, section 3.
    """
    a = as_float('a', a)
    count('active', active, a.shape[1], a.shape, of='units of a')
    a = jnp.maximum(a, 0.0)
    held = jax.lax.stop_gradient(a)
    least = jax.lax.top_k(held.reshape(-1), active * a.shape[0])[0][-1]
    codes = jnp.where(held >= least, a, 0.0)
    kept = jax.lax.stop_gradient(jnp.min(jnp.where(codes > 0, codes, jnp.inf)))
    return codes, jnp.where(jnp.isfinite(kept), kept, 0.0)


def above(a: Float[ArrayLike, 'batch units'], threshold: ArrayLike) -> Float[Array, 'batch units']:
    """Entries above a threshold and above 0, the others 0: BatchTopK's codes of one row at evaluation."""
    a = as_float('a', a)
    return jnp.where(a > jnp.maximum(threshold, 0.0), a, 0.0)


def _through(a: Array, threshold: Array, bandwidth: ArrayLike, height: Array | float) -> Array:
    """Zero, whose derivative by the threshold is −(height/ε)·1[|a − θ| < ε/2].

    Written with stopped gradients: a rule of its own would have to say what it sums over devices.
    """
    inside = jnp.abs(a - threshold) < 0.5 * bandwidth
    slope = jax.lax.stop_gradient(jnp.where(inside, -height / bandwidth, 0.0).astype(a.dtype))
    return slope * (threshold - jax.lax.stop_gradient(threshold))


def _of_units(a: ArrayLike, threshold: ArrayLike) -> tuple[Array, Array]:
    """Pre-activations, and their units' thresholds as one row."""
    a = as_float('a', a)
    threshold = as_float('threshold', threshold).astype(a.dtype)
    if threshold.shape != a.shape[1:]:
        raise ValueError(
            f'threshold must have shape {list(a.shape[1:])} for a {list(a.shape)}, not {list(threshold.shape)}'
        )
    return a, threshold[None]


def jump_relu(
    a: Float[ArrayLike, 'batch units'], threshold: Float[ArrayLike, ' units'], *, bandwidth: ArrayLike = 1e-3
) -> Float[Array, 'batch units']:
    """a·1[a > θ], with the straight-through gradient of the threshold (JumpReLU).

    ∂/∂a is 1[a > θ]. ∂/∂θ is −(θ/ε)·1[|a − θ| < ε/2], summed over the batch: the derivative of the expected value with
    the density of a estimated by a rectangle of width ε.

    Args:
      a: pre-activations.
      threshold: θ of each unit.
      bandwidth: ε. Paper: 1e-3 for inputs whose mean square is 1.

    References:
      Rajamanoharan et al. 2024, https://arxiv.org/abs/2407.14435, eq. 11.
    """
    a, threshold = _of_units(a, threshold)
    return jnp.where(a > threshold, a, 0.0) + _through(a, threshold, bandwidth, threshold)


def heaviside(
    a: Float[ArrayLike, 'batch units'], threshold: Float[ArrayLike, ' units'], *, bandwidth: ArrayLike = 1e-3
) -> Float[Array, 'batch units']:
    """1[a > θ], whose sum over units is L0; ∂/∂θ = −(1/ε)·1[|a − θ| < ε/2], and a gets no gradient.

    Args:
      a, threshold, bandwidth: as in :func:`jump_relu`.

    References:
      Rajamanoharan et al. 2024, https://arxiv.org/abs/2407.14435, eq. 12.
    """
    a, threshold = _of_units(a, threshold)
    return (a > threshold).astype(a.dtype) + _through(a, threshold, bandwidth, 1.0)


def gated(
    gate: Float[ArrayLike, 'batch units'], magnitude: Float[ArrayLike, 'batch units']
) -> Float[Array, 'batch units']:
    """1[gate > 0]·max(magnitude, 0): the gate gets no gradient here, its own loss trains it.

    References:
      Rajamanoharan et al. 2024, https://arxiv.org/abs/2404.16014, eq. 6.
    """
    gate, magnitude = as_float('gate', gate), as_float('magnitude', magnitude)
    if gate.shape != magnitude.shape:
        raise ValueError(
            f'gate and magnitude must have the same shape, and are {list(gate.shape)} and {list(magnitude.shape)}'
        )
    return jnp.where(gate > 0, jnp.maximum(magnitude, 0.0), 0.0)
