"""Ranks and spectra of a set of embeddings, without labels.

Every function takes the rows, or the :class:`Summary` of a set seen in one pass.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import centre, factor, matrix, ratio
from .summary import Summary


def singular_values(
    z: Float[ArrayLike, 'samples dim'] | Summary, *, centred: bool = False, blocks: int = 1
) -> Float[Array, 'rank']:
    """Singular values of `z`, largest first, from the R factor of a QR decomposition.

    R has the singular values of `z` and is only `dim × dim`, so this is more than twice as fast as a
    direct SVD of a tall matrix, and as exact. The eigenvalues of ZᵀZ would be faster still, but in
    float32 they lose every singular value below 3e-4 of the largest.

    Args:
      z: one embedding a row, or a summary.
      centred: take the column means off first.
      blocks: rows are cut into this many blocks, each reduced to its R, and the stacked R's reduced
        again (tall-skinny QR): with `z` sharded by rows and one block a device, only R's travel.
        Must divide `samples` and leave blocks at least as tall as wide.

    Returns:
      min(samples, dim) values ≥ 0; `dim` values from a summary. At zero, as of a constant column, the gradient is
      one of the subgradients, and finite.

    References:
      Demmel et al. 2012, https://arxiv.org/abs/0808.2664.
    """
    if isinstance(z, Summary):
        rows = z.factor
        if not centred:  # ZᵀZ = RᵀR + n·mean·meanᵀ
            rows = jnp.concatenate([rows, (jnp.sqrt(z.count) * z.mean)[None]])
        return jnp.linalg.svd(rows, compute_uv=False)
    z = matrix('z', z)
    samples, dim = z.shape
    if centred:
        z = centre(z)
    if blocks > 1:
        if samples % blocks or samples // blocks < dim:
            raise ValueError(f'blocks={blocks} does not cut {samples} rows into blocks of at least {dim} rows')
        z = factor(z.reshape(blocks, samples // blocks, dim)).reshape(blocks * dim, dim)
    if z.shape[0] > dim:
        z = factor(z)
    return jnp.linalg.svd(z, compute_uv=False)


def covariance_spectrum(z: Float[ArrayLike, 'samples dim'] | Summary, *, ddof: int = 0) -> Float[Array, 'rank']:
    """Eigenvalues of the covariance, λ = σ² / (samples − ddof) with σ of the centred rows, largest first.

    Args:
      z: embeddings or a summary; at least `ddof` + 1 rows.
      ddof: 0 divides by the number of rows, 1 by one less.

    Returns:
      min(samples, dim) values ≥ 0 (`dim` from a summary): all zero at full collapse (to rounding of the
      mean), all near σ² for isotropic noise once samples ≫ dim (within (1 ± √(dim/samples))²).

    Cost: O(samples·dim²).

    References:
      Jing et al. 2022, https://arxiv.org/abs/2110.09348, section 3 (dimensional collapse as its zero tail).
    """
    sigma = singular_values(z, centred=True)
    count = z.count if isinstance(z, Summary) else matrix('z', z, rows=ddof + 1).shape[0]
    return sigma * sigma / (count - ddof)


def exp_entropy(
    weights: Float[Array, 'rank'], *, eps: ArrayLike = 0.0, terms: ArrayLike | None = None
) -> Float[Array, '']:
    """exp(−Σ p log p) of p = w / ‖w‖₁ + ε, over the first `terms` weights (default: all)."""
    total = jnp.sum(weights)
    p = weights / jnp.where(total > 0, total, 1.0) + eps
    counted = p > 0
    if terms is not None:
        counted &= jnp.arange(len(weights)) < terms
    return jnp.exp(-jnp.sum(jnp.where(counted, p * jnp.log(jnp.where(counted, p, 1.0)), 0.0)))


def _rows(z) -> Array | None:
    return z.count if isinstance(z, Summary) else None


def rankme(z: Float[ArrayLike, 'samples dim'] | Summary, *, eps: ArrayLike = 1e-7, blocks: int = 1) -> Float[Array, '']:
    """RankMe: exp of the entropy of the normalised singular values, p_k = σ_k / ‖σ‖₁ + ε (eq. 1).

    High rank is necessary for a good representation and not sufficient: RankMe is blind to scale and
    to alignment, and a run with wrong positives can score higher than a healthy one. Compare runs of
    one method and architecture, beside `alignment` and `feature_deviation`.

    Args:
      z: embeddings, one a row, uncentred, as in the paper; or a summary. 25,600 rows are enough for
        2048 columns.
      eps: ε, outside the fraction; p is not renormalised after it.
      blocks: see :func:`singular_values`.

    Returns:
      A scalar from 1 (all rows on one line; isotropic noise gives about min(samples, dim)). All rows
      zero give exp(−r·ε·log ε) ≈ 1 for r = min(samples, dim).

    Cost: O(samples·dim²).

    References:
      Garrido et al. 2023, https://arxiv.org/abs/2210.02885, eq. 1.
    """
    return exp_entropy(singular_values(z, blocks=blocks), eps=eps, terms=_rows(z))


def effective_rank(
    z: Float[ArrayLike, 'samples dim'] | Summary, *, centred: bool = False, blocks: int = 1
) -> Float[Array, '']:
    """Effective rank: RankMe with ε = 0.

    Args:
      z: embeddings, one a row, or a summary.
      centred: take the column means off first. Uncentred, a cloud far from the origin reads as rank 1.
      blocks: see :func:`singular_values`.

    Returns:
      A scalar in [1, min(samples, dim)]; 1 for all-zero rows.

    References:
      Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", def. 1.
    """
    return exp_entropy(singular_values(z, centred=centred, blocks=blocks), terms=_rows(z))


def stable_rank(
    z: Float[ArrayLike, 'samples dim'] | Summary, *, centred: bool = False, blocks: int = 1
) -> Float[Array, '']:
    """Stable rank: ‖Z‖²_F / ‖Z‖²₂ = Σ σ² / σ₁², of the singular values, no ε.

    Args:
      z: embeddings, one a row, uncentred unless `centred`; or a summary.
      centred: take the column means off first, which gives :func:`nesum`.
      blocks: see :func:`singular_values`.

    Returns:
      A scalar in [1, min(samples, dim)]: 1 on a line and, as the limit, for all-zero rows; isotropic
      noise gives dim / (1 + √(dim/samples))². It is led by the largest value alone, so it moves
      little with the tail and needs fewer samples than `rankme` (some times `dim`).

    Cost: O(samples·dim²).

    References:
      Rudelson and Vershynin 2007, https://arxiv.org/abs/math/0503442, section 1 ("numerical rank").
    """
    sigma = singular_values(z, centred=centred, blocks=blocks)
    p = sigma / jnp.where(sigma[0] > 0, sigma[0], 1.0)
    return jnp.maximum(jnp.sum(p * p), 1.0)


def nesum(z: Float[ArrayLike, 'samples dim'] | Summary) -> Float[Array, '']:
    """NESum, the normalised eigenvalue sum: Σ λ_j / λ₁ with λ the eigenvalues of the (centred) covariance.

    Args:
      z: embeddings, one a row, or a summary; at least two rows. No ε; ddof cancels.

    Returns:
      A scalar in [1, min(samples − 1, dim)]: 1 on a line and, as the limit, at full collapse; isotropic
      noise gives dim / (1 + √(dim/samples))², so 20 times as many rows as columns reach 2/3 of `dim`.

    Cost: O(samples·dim²).

    References:
      He and Ozay 2022, "Exploring the gap between collapsed & whitened features in self-supervised
      learning", https://proceedings.mlr.press/v162/he22c.html.
    """
    if not isinstance(z, Summary):
        z = matrix('z', z, rows=2)
    return stable_rank(z, centred=True)


def alpha_req(z: Float[ArrayLike, 'samples dim'] | Summary, *, ranks: tuple[int, int] = (11, 100)) -> Float[Array, '']:
    """α-ReQ: the power α of the decay λ_j ∝ j^−α of the covariance spectrum.

    The line log λ_j ≈ −α·log j + c is fitted over a window of ranks by least squares with weights 1/j,
    as the authors' code does. The criterion is closeness to 1, not size.

    Args:
      z: embeddings, one a row, or a summary; centred here.
      ranks: first and last rank j of the window, counted from 1, both included; cut at
        min(samples − 1, dim), since the spectrum ends there. The authors' code takes 11 to 100.

    Returns:
      A scalar: 0 for isotropic noise with samples ≫ dim (sampling alone adds a slope, so take some
      times `dim` rows), about 1 for good representations, large when the spectrum falls off a cliff
      inside the window: eigenvalues are floored at λ₁·(machine ε)². Where fewer than two of the
      window stand above that floor, full collapse included, ∞. Blind to scale.

    Cost: O(samples·dim²).

    References:
      Agrawal et al. 2022, https://arxiv.org/abs/2202.05808, section 3; the window and the weights of
      Stringer et al. 2019, https://doi.org/10.1038/s41586-019-1346-5.
    """
    if isinstance(z, Summary):
        available = z.mean.shape[0]
    else:
        z = matrix('z', z, rows=2)
        available = min(z.shape[0] - 1, z.shape[1])
    first, last = ranks[0], min(ranks[1], available)
    if first < 1 or last < first + 1:
        raise ValueError(f'ranks={ranks} leaves fewer than two of the {available} eigenvalues of z to fit')
    sigma = singular_values(z, centred=True)
    floor = jnp.finfo(sigma.dtype).eps
    window = (sigma / jnp.where(sigma[0] > 0, sigma[0], 1.0))[first - 1 : last]
    j = jnp.arange(first, last + 1, dtype=sigma.dtype)
    weights = 1.0 / j
    if isinstance(z, Summary):  # a summary of few rows has fewer eigenvalues than columns
        weights = jnp.where(j <= z.count - 1, weights, 0.0)
    x, y = jnp.log(j), 2.0 * jnp.log(jnp.maximum(window, floor))
    total = jnp.maximum(jnp.sum(weights), floor)
    x = x - jnp.sum(weights * x) / total
    slope = -ratio(jnp.sum(weights * x * y), jnp.sum(weights * x * x), limit=jnp.inf)
    return jnp.where(jnp.sum((window > floor) & (weights > 0)) >= 2, slope, jnp.inf)
