"""W-MSE: distances between whitened views."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, normalize, several


def _identity(x: Float[Array, '*batch rows dim']) -> Float[Array, '*ones dim dim']:
    """I for the last axis of `x`, with axes of length 1 for all that stand before the last two."""
    eye = jnp.eye(x.shape[-1], dtype=x.dtype)
    return eye.reshape((1,) * (x.ndim - 2) + eye.shape)


def _cholesky(covariance: Float[Array, '*batch dim dim']) -> Float[Array, '*batch dim dim']:
    """L with L Lᵀ = the covariance; where it is singular, of the covariance whose diagonal is a little larger.

    A pivot is the share of a column's variance that the columns before it leave, so it is compared with that
    column's own variance. The decision is made on a factor without gradient, so that its NaN never enters a gradient.
    """
    precision = jnp.finfo(covariance.dtype).eps
    diagonal = jnp.diagonal(jax.lax.stop_gradient(covariance), axis1=-2, axis2=-1)
    trial = jnp.linalg.cholesky(jax.lax.stop_gradient(covariance))
    pivots = jnp.diagonal(trial, axis1=-2, axis2=-1) ** 2
    sound = jnp.all(pivots > 4 * precision * diagonal, axis=-1)  # NaN is not
    shift = 0.1 * precision**0.5 * jnp.where(diagonal > 0, diagonal, 1.0)
    shift = jnp.where(sound[..., None], 0.0, shift).astype(covariance.dtype)
    return jnp.linalg.cholesky(covariance + shift[..., None] * _identity(covariance))


def _whiten(x: Float[Array, '*batch rows dim'], eps: ArrayLike) -> Float[Array, '*batch rows dim']:
    """Rows times L⁻ᵀ after centring: their covariance is the identity when ε is 0."""
    mean = jnp.mean(x, axis=-2, keepdims=True)
    x = x - mean
    # Whitening forgets the scale of each column, so it is taken out first and squares neither overflow nor vanish.
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-2, keepdims=True))
    # A constant column is constant up to the rounding of its mean, which must not be whitened.
    constant = scale <= 16 * jnp.finfo(x.dtype).eps * jnp.abs(jax.lax.stop_gradient(mean))
    scale = jnp.maximum(scale, 1e-15)
    x = jnp.where(constant, 0.0, x / scale)
    covariance = jnp.einsum('...nd,...ne->...de', x, x, precision=HIGHEST) / (x.shape[-2] - 1)
    # ε of each column in its own units: the scales stand on both sides of the diagonal.
    share = jnp.swapaxes((eps / scale) / scale, -2, -1)
    covariance = (1.0 - eps) * covariance + share * _identity(x)
    return jax.lax.linalg.triangular_solve(_cholesky(covariance), x, left_side=False, lower=True, transpose_a=True)


def w_mse(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    order: Int[ArrayLike, 'iterations batch'] | None = None,
    block: int | None = None,
    eps: ArrayLike = 0.0,
    normalized: bool = True,
) -> Float[Array, '']:
    """Mean squared distance of whitened views: L = mean over pairs of views and rows of ‖ŵᵢ − ŵⱼ‖².

    The batch is cut into blocks of rows, the same for all views. In each block each view is whitened
    by itself, w = L⁻¹(z − µ) with L Lᵀ = (1 − ε)Σ + εI and Σ the unbiased covariance, and rows are
    normalised, so that a distance is 2 − 2·cos.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, any scale.
      order: permutations of the rows, one an iteration (`w_iter` of the authors); the loss is the mean
        over them. None: one iteration in the order given.
      block: rows of a block; divides `batch`. None: the whole batch. Must exceed `dim` (the authors
        advise twice it) unless ε > 0. Authors: 128 for 64 dims on CIFAR-10.
      eps: ε, the identity's share. Authors: 0.
      normalized: False leaves rows as they are and takes the mean over dims too (plain MSE).

    Returns:
      A dimensionless scalar in [0, 4] (normalised), 0 for equal views and 2 for unrelated ones. At
      collapse to a constant nothing is left after centring: 0 here, where the authors' code fails;
      any other degenerate block is whitened after a small share of each variance is added to it. Columns may
      differ in scale by any factor.

    Convention: each view has its own whitening matrix and its gradient flows through the Cholesky
    factor, as in the authors' code and lightly. solo-learn stops the gradient of the second view of each
    pair, which for two views is `w_mse(z1, stop_gradient(z2))`. Whitening by L⁻¹ is not the only root of
    Σ⁻¹; ZCA or PCA give other values: stable-pretraining whitens both views together by ZCA, eigenvalues
    clamped at ε = 1e-3, and takes the mean over dims too.

    Cost: O(views·batch·dim²) for Σ and the triangular solve, O(views·batch / block·dim³) for the
    factors. Pairs cost nothing extra: Σ_{i<j}‖wᵢ − wⱼ‖² = views·Σᵢ‖wᵢ − w̄‖². No state.

    References:
      Ermolov et al. 2021, https://arxiv.org/abs/2007.06346, section 3.
    """
    views = jnp.stack(several(z1, z2, *more, rows=2))
    count, batch, dim = views.shape
    block = batch if block is None else block
    if block < 2 or batch % block:
        raise ValueError(f'block={block} must be at least 2 and divide the batch; z1 has shape {[batch, dim]}')
    if block <= dim and not isinstance(eps, jax.core.Tracer) and not (np.asarray(eps) > 0).all():
        raise ValueError(
            f'block={block} rows cannot whiten the {dim} dims of z1, of shape {[batch, dim]}: '
            f'take a block of more rows than dims, or eps > 0'
        )
    order = jnp.arange(batch)[None] if order is None else jnp.asarray(order)
    if order.ndim != 2 or order.shape[1] != batch:
        raise ValueError(
            f'order must have shape [iterations, {batch}] for z1 of {[batch, dim]}, not {list(order.shape)}'
        )
    white = _whiten(views[:, order].reshape(count, -1, block, dim), eps)
    white = normalize(white) if normalized else white * dim**-0.5
    spread = jnp.sum((white - jnp.mean(white, axis=0, keepdims=True)) ** 2, axis=(0, -1))
    return 2.0 / (count - 1) * jnp.mean(spread)
