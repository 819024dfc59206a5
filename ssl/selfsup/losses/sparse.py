"""Sparse representations: the FLOPs regulariser, and sparsemax with its loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import as_float, matrix


def flops(z: Float[ArrayLike, 'batch dim']) -> Float[Array, '']:
    """Σ_j (mean_b |z_bj|)²: a smooth stand-in for the products that a search over an inverted index computes.

    Args:
      z: activations, most of them zero if they are to be searched so (after a ReLU, say).

    Returns:
      A scalar ≥ 0 in units of squared activation, 0 for zeros. For a given mean of |z| it is least where all
      dimensions are active equally often, which an ℓ1 penalty does not ask for.

    Convention: a sum over dims; the share of the batch for which j is active, p_j, is replaced by the mean of |z_bj|.

    Cost: O(batch·dim); no state.

    References:
      Paria et al. 2020, https://arxiv.org/abs/2004.05665, section 3.
    """
    return jnp.sum(jnp.mean(jnp.abs(matrix('z', z)), axis=0) ** 2)


def _threshold(z: Array) -> tuple[Array, Array]:
    """The τ of sparsemax and the mask of its support, along the last axis."""
    ordered = -jnp.sort(-z, axis=-1)
    places = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
    sums = jnp.cumsum(ordered, axis=-1)
    inside = places * ordered > sums - 1.0
    count = jnp.sum(inside, axis=-1, keepdims=True)
    total = jnp.sum(jnp.where(inside, ordered, 0.0), axis=-1, keepdims=True)
    threshold = (total - 1.0) / count.astype(z.dtype)
    return threshold, z > threshold


@jax.custom_vjp
def _sparsemax(z: Array) -> Array:
    return jnp.maximum(z - _threshold(z)[0], 0.0)


def _sparsemax_forward(z: Array) -> tuple[Array, Array]:
    threshold, support = _threshold(z)
    return jnp.where(support, z - threshold, 0.0), support


def _sparsemax_backward(support: Array, cotangent: ArrayLike) -> tuple[Array]:
    cotangent = jnp.asarray(cotangent)
    kept = jnp.where(support, cotangent, 0.0)
    mean = jnp.sum(kept, axis=-1, keepdims=True) / jnp.sum(support, axis=-1, keepdims=True)
    return (jnp.where(support, cotangent - mean, 0.0).astype(cotangent.dtype),)


_sparsemax.defvjp(_sparsemax_forward, _sparsemax_backward)


def sparsemax(z: Float[ArrayLike, '*batch count']) -> Float[Array, '*batch count']:
    """The point of the simplex nearest to z: a softmax that gives exact zeros (eq. 1 and 2).

    Args:
      z: scores along the last axis; shifting them all changes nothing, scaling them up makes it sparser.

    Returns:
      Probabilities, at least one above 0. The gradient is the Jacobian's, diag(s) − s sᵀ / |s| with s the mask of the
      support: on it the mean is taken away, elsewhere it is 0.

    Cost: O(batch·count·log count); no state.

    References:
      Martins and Astudillo 2016, https://arxiv.org/abs/1602.02068, algorithm 1 and eq. 8.
    """
    z = as_float('z', z)
    return _sparsemax(z - jax.lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True)))


def sparsemax_loss(z: Float[ArrayLike, 'batch count'], labels: Int[ArrayLike, ' batch']) -> Float[Array, '']:
    """The convex loss whose gradient is sparsemax(z) − onehot, mean over the batch (eq. 12).

    Per row −z_y + ½ Σ_{j∈S} (z_j² − τ²) + ½, S the support and τ the threshold.

    Args:
      z: scores.
      labels: the right column of each row.

    Returns:
      A scalar ≥ 0, 0 where each right score is ahead of all others by 1.

    Cost: O(batch·count·log count); no state.

    References:
      Martins and Astudillo 2016, https://arxiv.org/abs/1602.02068, section 3.
    """
    z = matrix('z', z)
    z = z - jax.lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True))
    right = jnp.arange(z.shape[1])[None] == jnp.asarray(labels)[:, None]
    threshold, support = _threshold(z)
    inside = jnp.where(support, z**2 - threshold**2, 0.0)
    return jnp.mean(0.5 * jnp.sum(inside, axis=1) + 0.5 - jnp.sum(jnp.where(right, z, 0.0), axis=1))
