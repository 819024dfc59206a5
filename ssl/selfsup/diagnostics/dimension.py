"""Intrinsic dimension of the set that the rows lie on, from distances to nearest neighbours.

All estimates are invariant to rotation, shift and isotropic scale. Duplicates (distance 0) are left out;
they would read as dimension 0.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import matrix, ratio
from .neighbours import nearest

AVERAGES = ('harmonic', 'geometric', 'arithmetic')


def _average(lid: Array, valid: Array, average: str | None) -> Array:
    if average is None:
        return jnp.where(valid, lid, 0.0)
    count = jnp.sum(valid)

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(valid, values, 0.0)) / jnp.maximum(count, 1)

    safe = jnp.where(valid, lid, 1.0)
    if average == 'harmonic':
        value = ratio(jnp.ones_like(safe[0]), mean(1.0 / safe), limit=jnp.inf)
    elif average == 'geometric':
        value = jnp.exp(mean(jnp.log(safe)))
    else:
        value = mean(safe)
    return jnp.where(count > 0, value, 0.0)


def _distances(z, reference, k: int, average: str | None, chunk: int) -> Array:
    if average is not None and average not in AVERAGES:
        raise ValueError(f'average must be one of {AVERAGES} or None, not {average!r}')
    if k < 3:
        raise ValueError(f'k={k} is too small: an estimate needs at least 3 neighbours')
    return nearest(z, reference, k=k, chunk=chunk)[0]


def lid_mle(
    z: Float[ArrayLike, 'samples dim'],
    reference: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    k: int = 20,
    offset: ArrayLike = 1.0,
    eps: ArrayLike = 0.0,
    average: str | None = 'harmonic',
    chunk: int = 1024,
) -> Float[Array, '*samples']:
    """Local intrinsic dimension by maximum likelihood, m(x) = (k − 1) / Σ_{j<k} log(r_k / r_j).

    Args:
      z: the points, at least k + 1 rows (Euclidean, so centring does not matter).
      reference: the points among which neighbours are sought; by default `z`, each row without itself.
      k: neighbours. Larger reaches farther and reads too low on curved or high-dimensional sets.
      offset: the numerator is k − offset: 1 as Levina and Bickel, 2 without bias, 0 as LDReg.
      eps: ε of log(r_j / r_k + ε); LDReg's training code takes 1e-4. 0 leaves duplicates (r_j = 0) out
        of the sum and of k.
      average: 'harmonic' (MacKay and Ghahramani), 'geometric' (LDReg's paper), 'arithmetic' (Levina
        and Bickel), over the points with at least 3 neighbours apart; None gives each point's value.
      chunk: queries at a time, see :func:`nearest`.

    Returns:
      A scalar ≥ 0, or `samples` values. A set of dimension d gives about d for small d and less for
      large (2000 Gaussian points, k = 20: 2.0, 5.0, 9.2 for d = 2, 5, 10), so isotropic noise of high
      dimension reads far below `dim`. Full collapse gives 0, the limit; points all at one distance ∞.
      A thousand samples do up to d ≈ 5; the number needed for a given error grows exponentially in d.

    Cost: O(samples·bank·dim).

    References:
      Levina and Bickel 2004, "Maximum likelihood estimation of intrinsic dimension", eq. 8; Huang et
      al. 2024, https://arxiv.org/abs/2401.10474 (LDReg); MacKay and Ghahramani 2005, comment on eq. 8.
    """
    r = _distances(z, reference, k, average, chunk)
    last = r[:, -1:]
    positive = (r > 0) | (jnp.asarray(eps) > 0)
    scaled = r / jnp.where(last > 0, last, 1.0) + eps
    logs = jnp.where(positive, -jnp.log(jnp.where(positive, scaled, 1.0)), 0.0)[:, :-1]
    counted = jnp.sum(positive, axis=1)
    total = jnp.sum(logs, axis=1)
    lid = ratio(counted - offset, total, limit=jnp.inf)
    return _average(lid, (last[:, 0] > 0) & (counted >= 3), average)


def lid_moments(
    z: Float[ArrayLike, 'samples dim'],
    reference: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    k: int = 20,
    average: str | None = 'harmonic',
    chunk: int = 1024,
) -> Float[Array, '*samples']:
    """Local intrinsic dimension by the first moment, m / (r_k − m) with m the mean of r_1 … r_{k−1}.

    Args:
      z, reference, k, average, chunk: as in :func:`lid_mle`.

    Returns:
      A scalar ≥ 0, or `samples` values; about d on a set of dimension d, noisier than `lid_mle` and
      cheaper to differentiate. Duplicates count with their distance 0. Full collapse gives 0, the limit;
      points all at one distance ∞.

    Cost: O(samples·bank·dim).

    References:
      Amsaleg et al. 2018, https://doi.org/10.1007/s10618-018-0578-6, section 4; in the form of LDReg,
      Huang et al. 2024, https://arxiv.org/abs/2401.10474.
    """
    r = _distances(z, reference, k, average, chunk)
    mean = jnp.mean(r[:, :-1], axis=1)
    lid = ratio(mean, r[:, -1] - mean, limit=jnp.inf)
    return _average(lid, mean > 0, average)


def two_nn(
    z: Float[ArrayLike, 'samples dim'], *, discard: ArrayLike = 0.1, fit: str = 'regression', chunk: int = 1024
) -> Float[Array, '']:
    """TwoNN: intrinsic dimension from μ = r₂ / r₁, which follows P(μ ≤ x) = 1 − x^−d.

    Args:
      z: the points, at least four rows; no centring needed.
      discard: share of the largest μ left out of the regression.
      fit: 'regression' takes the slope through the origin of −log(1 − i/N) on log μ_(i); 'mle' is
        (N − 1) / Σ log μ over all N points.
      chunk: queries at a time, see :func:`nearest`.

    Returns:
      A scalar ≥ 0: about d on a set of dimension d (2000 Gaussian points: 2.0, 5.2, 10.0 for d = 2, 5,
      10), below it for d ≫ log₂(samples), so isotropic noise of high dimension reads far below `dim`.
      Points with a duplicate (r₁ = 0) are left out; when all are, as at full collapse, 0, the limit;
      points all at one distance ∞. A thousand samples for 5 %.

    Cost: O(samples²·dim).

    References:
      Facco et al. 2017, https://doi.org/10.1038/s41598-017-11873-y, section "Algorithm".
    """
    if fit not in ('regression', 'mle'):
        raise ValueError(f"fit must be 'regression' or 'mle', not {fit!r}")
    r = nearest(matrix('z', z, rows=4), k=2, chunk=chunk)[0]
    valid = r[:, 0] > 0
    count = jnp.sum(valid)
    logs = jnp.sort(jnp.where(valid, jnp.log(jnp.where(valid, r[:, 1], 1.0) / jnp.where(valid, r[:, 0], 1.0)), jnp.inf))
    rank = jnp.arange(1, r.shape[0] + 1, dtype=r.dtype)
    if fit == 'mle':
        total = jnp.sum(jnp.where(rank <= count, logs, 0.0))
        return jnp.where(count > 1, ratio(count - 1.0, total, limit=jnp.inf), 0.0).astype(r.dtype)
    kept = (rank <= jnp.floor((1.0 - discard) * count)) & (rank < count)
    x = jnp.where(kept, logs, 0.0)
    y = -jnp.log1p(-jnp.where(kept, rank / jnp.maximum(count, 1), 0.0))
    slope = ratio(jnp.sum(x * y), jnp.sum(x * x), limit=jnp.inf)
    return jnp.where(jnp.sum(kept) > 0, slope, 0.0).astype(r.dtype)
