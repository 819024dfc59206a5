"""Whitening: affine maps after which the columns are uncorrelated and of variance 1."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common import dot, factor, matrix, pair, root, thin_svd
from .summary import Summary, summarize

KINDS = ('zca', 'pca', 'cholesky')


class Whitening(NamedTuple):
    """The map z ↦ (z − mean)·matrix."""

    mean: Float[Array, 'dim']
    matrix: Float[Array, 'dim dim']


def _spectral(r: Array, kind: str, shrinkage, eps, power, truncate) -> Array:
    _, sigma, right = thin_svd(r)
    energy = sigma * sigma
    values = (1.0 - shrinkage) * energy + shrinkage * jnp.mean(energy) + eps
    keep = values > truncate * values[0]
    gain = jnp.where(keep, jnp.where(keep, values, 1.0) ** (-0.5 * power), 0.0)
    # Signs of singular vectors are arbitrary: the largest entry of each is made positive.
    sign = jnp.sign(jnp.take_along_axis(right, jnp.argmax(jnp.abs(right), axis=1)[:, None], axis=1))
    right = right * jnp.where(sign == 0, 1.0, sign)
    rotated = right.T * gain[None]
    return rotated if kind == 'pca' else dot(rotated, right)


def _cholesky(r: Array, shrinkage, eps) -> Array:
    dim = r.shape[0]
    ridge = root(shrinkage * jnp.sum(r * r) / dim + eps) * jnp.eye(dim, dtype=r.dtype)
    stack = jnp.concatenate([jnp.sqrt(1.0 - shrinkage) * r, ridge])
    triangle = jnp.linalg.qr(stack, mode='r')  # RᵀR = Σ, so L = Rᵀ up to the signs of its rows
    triangle = triangle * jnp.where(jnp.diagonal(triangle) < 0, -1.0, 1.0)[:, None]
    diagonal = jnp.diagonal(triangle)
    if not isinstance(diagonal, jax.core.Tracer):
        smallest, largest = np.asarray(diagonal).min(), np.asarray(diagonal).max()
        if not smallest > dim * np.finfo(diagonal.dtype).eps * largest:
            raise ValueError('the covariance is singular to rounding: Cholesky whitening needs eps or shrinkage')
    return jax.scipy.linalg.solve_triangular(triangle, jnp.eye(dim, dtype=r.dtype))


def fit_whitening(
    z: Float[ArrayLike, 'samples dim'] | Summary,
    *,
    kind: str = 'zca',
    groups: int = 1,
    eps: ArrayLike = 0.0,
    shrinkage: ArrayLike = 0.0,
    power: ArrayLike = 1.0,
    truncate: ArrayLike | None = None,
    ddof: int = 0,
) -> Whitening:
    """The whitening of the columns of `z`, to be applied to any rows with :func:`whiten`.

    With Σ = ZᵀZ / (samples − ddof) of the centred rows = UΛUᵀ = LLᵀ, and Λ' = (1 − γ)Λ + γ·tr(Σ)/dim + ε:
    PCA is UΛ'^−½ (columns by falling variance, the largest entry of each direction positive), ZCA
    UΛ'^−½Uᵀ (of all whitenings the closest to the rows themselves), Cholesky L^−ᵀ (column j uses
    columns up to j only). From the singular values of R, so Σ is never formed.

    Args:
      z: rows to fit on (train only), or a summary; at least ddof + 1, and more than dim for full rank.
      kind: 'zca', 'pca' or 'cholesky'.
      groups: columns are cut into this many consecutive groups, each whitened by itself, which needs
        only samples > dim / groups. Must divide dim.
      eps: ε, added to every eigenvalue, in squared units of z.
      shrinkage: γ in [0, 1], towards the mean variance.
      power: Λ'^(−power/2): 1 whitens, 0 only rotates (PCA) or centres (ZCA), between them softly.
        Not for Cholesky.
      truncate: eigenvalues up to this share of the largest are sent to 0 instead of being inverted, so
        a flat direction stays flat. Default: (dim·machine ε)². Cholesky has no such way out: a singular Σ
        raises, and under jit gives values that are not finite.
      ddof: 0 divides by the number of rows, 1 by one less.

    Returns:
      Mean and matrix. The rows fitted on come out with covariance I (of rank that of Σ); isotropic
      noise is only rescaled. Full collapse gives a zero matrix, the limit.

    Cost: O(samples·dim² + dim³), / groups² for the cubic part.

    References:
      Kessy et al. 2018, https://arxiv.org/abs/1512.00809, table 1; groups: Huang et al. 2018,
      https://arxiv.org/abs/1804.08450, section 3.3; shrinkage: Ledoit and Wolf 2004.
    """
    if kind not in KINDS:
        raise ValueError(f'kind must be one of {KINDS}, not {kind!r}')
    if not isinstance(z, Summary):
        z = summarize(matrix('z', z, rows=ddof + 1))
    dim = z.mean.shape[0]
    if groups < 1 or dim % groups:
        raise ValueError(f'groups={groups} does not divide the {dim} columns of z')
    if truncate is None:
        truncate = (dim * jnp.finfo(z.mean.dtype).eps) ** 2
    scaled = z.factor / jnp.sqrt(z.count - ddof)
    width = dim // groups
    blocks = []
    for start in range(0, dim, width):
        block = scaled[:, start : start + width]
        if kind == 'cholesky':
            blocks.append(_cholesky(factor(block), shrinkage, eps))
        else:
            blocks.append(_spectral(block, kind, shrinkage, eps, power, truncate))
    return Whitening(z.mean, jax.scipy.linalg.block_diag(*blocks))


def whiten(whitening: Whitening, z: Float[ArrayLike, 'samples dim']) -> Float[Array, 'samples dim']:
    """(z − mean)·matrix, with the statistics of the rows fitted on.

    Cost: O(samples·dim²).
    """
    z, _ = pair(z, whitening.matrix, names=('z', 'matrix'), same='dim')
    return dot(z - whitening.mean[None], whitening.matrix)
