"""Equivariance: embeddings move with a transformation of the input in a way that can be said."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, deviation_hinge, normalize, off_diagonal_energy, pair, several


def care(z1: Float[ArrayLike, 'batch dim'], z2: Float[ArrayLike, 'batch dim'], *, chunk: int) -> Float[Array, '']:
    """How far one transformation of many inputs is from a rotation of their embeddings (CARE's equivariance).

    L = mean over chunks of 2·mean_i Σ_{j≠i} (z_i·z_j − z'_i·z'_j)². In a chunk z and z' have one pair of
    transformations in common; where all cosines are kept, some orthogonal map takes every z_i to z'_i.

    Args:
      z1, z2: embeddings of two views, any norm (normalised here); rows 0 … chunk − 1 share the transformations of
        each view, and so on.
      chunk: rows that do; it divides the batch.

    Returns:
      A scalar in [0, 8·(chunk − 1)]; 0 at collapse, so that it needs a loss beside it, and for one row a chunk.

    Convention: a sum over the other rows, as in the authors' code, so that it grows with the chunk.

    Cost: O(batch·chunk·dim); no state.

    References:
      Gupta et al. 2023, https://arxiv.org/abs/2306.13924, eq. 3 (CARE).
    """
    z1, z2 = pair(z1, z2)
    batch, dim = z1.shape
    if chunk < 1 or batch % chunk:
        raise ValueError(f'chunk={chunk} must divide the {batch} rows of z1')
    first, second = (normalize(z).reshape(-1, chunk, dim) for z in (z1, z2))
    cosines = [jnp.einsum('cid,cjd->cij', z, z, precision=HIGHEST) for z in (first, second)]
    # The diagonal is 1 in both, up to rounding.
    change = jnp.where(jnp.eye(chunk, dtype=bool)[None], 0.0, cosines[0] - cosines[1])
    return 2.0 * jnp.mean(jnp.sum(change**2, axis=2))


def sie_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    predictions: Float[ArrayLike, 'batch equivariant'],
    *,
    eps: ArrayLike = 1e-4,
) -> dict[str, Float[Array, '']]:
    """The parts of SIE's loss, unweighted: one half of an embedding is kept by a transformation, the other predicted.

    Args:
      z1, z2: embeddings of two views, not normalised, at least two rows; their last columns, as many as `predictions`
        has, are the equivariant half.
      predictions: the equivariant half of z2 as predicted from that of z1 and the transformation between them.
      eps: ε under the root of the standard deviation.

    Returns:
      `invariance`, mean squared difference of the first halves, 0 where there are none; `equivariance`, that of
      `predictions` and z2's second half; `variance`, VICReg's hinge, the mean of both views; `prediction_variance`,
      that of `predictions`; `covariance`, VICReg's, the sum of both views. At collapse to one point variances are
      1 − √ε and the others 0.

    Convention: the target of the prediction carries a gradient, and it is predicted in one direction, as in the
    authors' code.

    Cost: O(batch·dim²); no state.

    References:
      Garrido et al. 2023, https://arxiv.org/abs/2302.10283, eq. 1 (SIE).
    """
    z1, z2 = several(z1, z2, rows=2)
    predictions = jnp.asarray(predictions, z1.dtype)
    batch, dim = z1.shape
    kept = dim - predictions.shape[-1]
    if predictions.shape[0] != batch or kept < 0:
        raise ValueError(
            f'predictions {list(predictions.shape)} must have the rows of z1 {[batch, dim]} and at most its columns'
        )
    views = [z - jnp.mean(z, axis=0, keepdims=True) for z in (z1, z2)]
    spread = [deviation_hinge(z, target=1.0, eps=eps) for z in views]
    moved = predictions - jnp.mean(predictions, axis=0, keepdims=True)
    unmoved = (z1[:, :kept] - z2[:, :kept]) ** 2
    return {
        'invariance': jnp.mean(unmoved) if kept else jnp.zeros((), z1.dtype),
        'equivariance': jnp.mean((predictions - z2[:, kept:]) ** 2),
        'variance': (spread[0] + spread[1]) / 2.0,
        'prediction_variance': deviation_hinge(moved, target=1.0, eps=eps),
        'covariance': sum(off_diagonal_energy(z, z) for z in views) / (float(batch - 1) ** 2 * dim),
    }
