"""All4One's contrast of features: columns of one view against columns of the other's target."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, off_diagonal_energy, pair, same_width


def _root(squared: Array) -> Array:
    """Its square root; no gradient at 0, where the root's own is infinite."""
    zero = squared <= 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared)))


def feature_contrast(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    t1: Float[ArrayLike, 'batch dim'],
    t2: Float[ArrayLike, 'batch dim'],
    *,
    scale: ArrayLike = 10.0,
) -> Float[Array, '']:
    """Each column of one view like its own column of the other's target, and orthogonal to the others (All4One).

    L = scale·½(on + off). With C = T̂1ᵀ Ẑ2 and D = T̂2ᵀ Ẑ1, hats for columns of unit length over the batch, not centred:
    on = √(½(mean_i (C_ii − 1)² + mean_i (D_ii − 1)²)), off = √(½(mean_{i≠j} C_ij² + mean_{i≠j} D_ij²)).

    Args:
      z1, z2: embeddings of two views, as wide as each other.
      t1, t2: what a target network gives of the same views, in the authors' code with rows of unit length; no gradient
        passes.
      scale: authors' code: 10.

    Returns:
      A scalar from 0; `scale`/2 at collapse, where all entries of C and D are 1.

    Convention: roots of means of squares, as in the authors' code, where Barlow Twins sums squares of centred columns.
    The off-diagonal part of one column is 0.

    Cost: O(batch·dim·min(dim, 2·batch)); no state.

    References:
      Estepa et al. 2023, https://arxiv.org/abs/2303.09417, section 3.3; the form of solo-learn's `all4one.py`.
    """
    z1, z2 = pair(z1, z2)
    t1, t2 = (jax.lax.stop_gradient(t).astype(z1.dtype) for t in pair(t1, t2, names=('t1', 't2')))
    same_width('t1', t1, 'z1', z1)
    if len(t1) != len(z1):
        raise ValueError(
            f't1 and z1 must have the same rows, and their shapes are {list(t1.shape)} and {list(z1.shape)}'
        )
    z1, z2, t1, t2 = (normalize(x.T).T for x in (z1, z2, t1, t2))
    dim = z1.shape[1]
    same = [jnp.einsum('bd,bd->d', t, z, precision=HIGHEST) for t, z in ((t1, z2), (t2, z1))]
    on = sum(jnp.mean((s - 1.0) ** 2) for s in same) / 2
    off = sum(off_diagonal_energy(t, z) for t, z in ((t1, z2), (t2, z1))) / (2 * max(dim * (dim - 1), 1))
    return scale * (_root(on) + _root(off)) / 2
