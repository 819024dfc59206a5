"""Ranks and spectra of a set of embeddings, without labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

HIGHEST = jax.lax.Precision.HIGHEST


def _matrix(name: str, z) -> Array:
    z = jnp.asarray(z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f'{name} must have shape [samples, dim] with neither zero, not {list(z.shape)}')
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f'{name} must be a floating-point array, not {z.dtype}')
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def singular_values(z: Float[ArrayLike, 'samples dim'], *, blocks: int = 1) -> Float[Array, 'rank']:
    """Singular values of `z`, largest first, from the R factor of a QR decomposition.

    R has the singular values of `z` and is only `dim × dim`, so this is more than twice as fast as a
    direct SVD of a tall matrix, and as exact. The eigenvalues of ZᵀZ would be faster still, but in
    float32 they lose every singular value below 3e-4 of the largest.

    Args:
      z: one embedding a row; not centred here.
      blocks: rows are cut into this many blocks, each reduced to its R, and the stacked R's reduced
        again (tall-skinny QR): with `z` sharded by rows and one block a device, only R's travel.
        Must divide `samples` and leave blocks at least as tall as wide.

    Returns:
      min(samples, dim) values ≥ 0.

    References:
      Demmel et al. 2012, https://arxiv.org/abs/0808.2664.
    """
    z = _matrix('z', z)
    samples, dim = z.shape
    if blocks > 1:
        if samples % blocks or samples // blocks < dim:
            raise ValueError(f'blocks={blocks} does not cut {samples} rows into blocks of at least {dim} rows')
        z = jnp.linalg.qr(z.reshape(blocks, samples // blocks, dim), mode='r').reshape(blocks * dim, dim)
    if z.shape[0] > dim:
        z = jnp.linalg.qr(z, mode='r')
    return jnp.linalg.svd(z, compute_uv=False)


def _exp_entropy(weights: Float[Array, 'rank'], eps: ArrayLike) -> Float[Array, '']:
    total = jnp.sum(weights)
    p = weights / jnp.where(total > 0, total, 1.0) + eps
    return jnp.exp(-jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0)))


def rankme(z: Float[ArrayLike, 'samples dim'], *, eps: ArrayLike = 1e-7, blocks: int = 1) -> Float[Array, '']:
    """RankMe: exp of the entropy of the normalised singular values, p_k = σ_k / ‖σ‖₁ + ε (eq. 1).

    High rank is necessary for a good representation and not sufficient: RankMe is blind to scale and
    to alignment, and a run with wrong positives can score higher than a healthy one. Compare runs of
    one method and architecture, beside `alignment` and `feature_deviation`.

    Args:
      z: embeddings, one a row, uncentred, as in the paper. 25,600 rows are enough for 2048 columns.
      eps: ε, outside the fraction; p is not renormalised after it.
      blocks: see :func:`singular_values`.

    Returns:
      A scalar from 1 (all rows on one line; isotropic noise gives about min(samples, dim)). All rows
      zero give exp(−r·ε·log ε) ≈ 1 for r = min(samples, dim).

    Cost: O(samples·dim²).

    References:
      Garrido et al. 2023, https://arxiv.org/abs/2210.02885, eq. 1.
    """
    return _exp_entropy(singular_values(z, blocks=blocks), eps)


def effective_rank(z: Float[ArrayLike, 'samples dim'], *, blocks: int = 1) -> Float[Array, '']:
    """Effective rank: RankMe with ε = 0.

    Args:
      z: embeddings, one a row, uncentred.
      blocks: see :func:`singular_values`.

    Returns:
      A scalar in [1, min(samples, dim)]; 1 for all-zero rows.

    References:
      Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", def. 1.
    """
    return _exp_entropy(singular_values(z, blocks=blocks), 0.0)
