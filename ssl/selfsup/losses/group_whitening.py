"""WhitenedCSE: views whitened in shuffled groups of columns, and contrast between them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, matrix, pair
from .in_batch import info_nce_in_batch


def _gains(values: Array) -> Array:
    """λ^−½, and 0 for what is zero up to rounding."""
    least = values.shape[-1] * jnp.finfo(values.dtype).eps * jnp.max(values, axis=-1, keepdims=True)
    kept = values > jnp.maximum(least, 0.0)
    return jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1.0)), 0.0)


@jax.custom_jvp
def _inverse_root(covariance: Array) -> Array:
    """Σ^−½ of matrices `[…, size, size]`; its derivative is finite where eigenvalues are equal, or zero."""
    values, vectors = jnp.linalg.eigh(covariance)
    scaled = vectors * _gains(values)[..., None, :]
    return jnp.matmul(scaled, jnp.swapaxes(vectors, -1, -2), precision=HIGHEST)


@_inverse_root.defjvp
def _inverse_root_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (covariance,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(covariance)
    turned, gains = jnp.swapaxes(vectors, -1, -2), _gains(values)
    # From Σ^½ dW Σ^½ + … : the divided difference of λ^−½ is −gᵢgⱼ / (1/gᵢ + 1/gⱼ), without a difference of two λ.
    rows, columns = gains[..., :, None], gains[..., None, :]
    both = rows * columns
    weights = -both * both / jnp.where(both > 0, rows + columns, 1.0)
    inner = jnp.matmul(
        turned, jnp.matmul(0.5 * (change + jnp.swapaxes(change, -1, -2)), vectors, precision=HIGHEST), precision=HIGHEST
    )
    outer = jnp.matmul(vectors, jnp.matmul(weights * inner, turned, precision=HIGHEST), precision=HIGHEST)
    root = jnp.matmul(vectors * gains[..., None, :], turned, precision=HIGHEST)
    return root, outer


def group_whiten(
    z: Float[ArrayLike, 'batch dim'],
    order: Int[ArrayLike, ' dim'] | None = None,
    *,
    groups: int,
    eps: ArrayLike = 1e-4,
) -> Float[Array, 'batch dim']:
    """Columns in groups, each group centred and whitened by itself (ZCA): Σ_g^−½(z_g − mean).

    Args:
      z: embeddings; more rows than columns of a group.
      order: a permutation of the columns, which decides the groups; the result is in the order of `z`. None: as they
        stand.
      groups: G, which divides `dim`. The paper: 128 groups of 6.
      eps: ε, the share of a group's mean variance that is added to every eigenvalue. The authors' code has none, and
        its gradient, of an eigendecomposition, is not finite where two eigenvalues are equal; ours is.

    Returns:
      `[batch, dim]`: with ε = 0 the covariance of each group is the identity (biased, ddof 0). Groups without variance
      give 0.

    Cost: O(batch·dim²/G + dim³/G²); no state. Every row depends on the whole batch.

    References:
      Zhuo et al. 2023, https://arxiv.org/abs/2305.17746, section 3.
    """
    z = matrix('z', z, rows=2)
    batch, dim = z.shape
    if groups < 1 or dim % groups:
        raise ValueError(f'groups={groups} does not divide the {dim} columns of z, of shape {[batch, dim]}')
    order = jnp.arange(dim) if order is None else jnp.asarray(order)
    if order.shape != (dim,):
        raise ValueError(f'order must have shape [{dim}] for z of {[batch, dim]}, not {list(order.shape)}')
    parts = z[:, order].reshape(batch, groups, dim // groups).swapaxes(0, 1)
    parts = parts - jnp.mean(parts, axis=1, keepdims=True)
    # Whitening forgets the scale of a group, so it is taken out first and squares neither overflow nor vanish.
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(parts), axis=(1, 2), keepdims=True))
    parts = parts / jnp.where(scale > 0, scale, 1.0)
    covariance = jnp.matmul(parts.swapaxes(1, 2), parts, precision=HIGHEST) / batch
    mean = jnp.trace(covariance, axis1=1, axis2=2)[:, None, None] / (dim // groups)
    covariance = covariance + eps * mean * jnp.eye(dim // groups, dtype=z.dtype)[None]
    white = jnp.matmul(parts, _inverse_root(covariance), precision=HIGHEST)
    return white.swapaxes(0, 1).reshape(batch, dim)[:, jnp.argsort(order)]


def whitened_contrastive(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    orders: Int[ArrayLike, 'count dim'],
    groups: int,
    temperature: ArrayLike = 0.05,
    eps: ArrayLike = 1e-4,
) -> Float[Array, '']:
    """The first view must pick each whitened copy of the second: Σ_c CE(cos(w₀(z1), w_c(z2)) / τ) (WhitenedCSE).

    Args:
      z1, z2: embeddings of two views; more rows than columns of a group.
      orders: permutations of the columns, one for `z1` and one for each copy of `z2` (:func:`group_whiten`).
      groups, eps: see there.
      temperature: τ > 0. Authors: 0.05.

    Returns:
      A sum over the copies, in nats, ≥ 0; copies·log(batch) at collapse.

    Convention: one direction. The paper whitens three views of a network with dropout before the last linear layer;
    here the copies are of one second view, and the embeddings are whitened. The authors' code cuts rows in which the
    views of a sentence stand one after the other into three blocks, so that each block holds all views of a third of
    the batch; here a block is a view, as in the paper.

    Cost: copies times :func:`group_whiten` and O(batch²·dim); no state.

    References:
      Zhuo et al. 2023, https://arxiv.org/abs/2305.17746, section 3.
    """
    z1, z2 = pair(z1, z2, rows=2)
    orders = jnp.asarray(orders)
    if orders.ndim != 2 or orders.shape[0] < 2:
        raise ValueError(f'orders must have at least two rows, one for z1, and has shape {list(orders.shape)}')
    if (
        z1.shape[0] <= z1.shape[1] // groups
        and not isinstance(eps, jax.core.Tracer)
        and not (np.asarray(eps) > 0).all()
    ):
        raise ValueError(
            f'{z1.shape[0]} rows cannot whiten groups of {z1.shape[1] // groups} columns: z1 has shape {list(z1.shape)}'
        )
    anchor = group_whiten(z1, orders[0], groups=groups, eps=eps)
    copies = [group_whiten(z2, order, groups=groups, eps=eps) for order in orders[1:]]
    return sum(info_nce_in_batch(anchor, copy, temperature=temperature) for copy in copies)
