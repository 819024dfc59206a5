"""Distances with fewer hubs: local scaling, NICDM, mutual proximity, CSLS and DisSimLocal.

All take distances and return distances, smaller meaning nearer. `distances` is either square, of one set
to itself (then its diagonal is left out), or `[queries, bank]`, and then `bank_distances` holds those
of the bank to itself, from which the bank's own statistics come. Reductions change who is whose
neighbour, not the embedding; at full collapse, where every distance is zero, all of them are constant off
the diagonal. Statistics of `k` neighbours need some times `k` rows, mutual proximity a few hundred.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import matrix, pair, root, squared_norms
from .neighbours import nearest, pairwise_distances, without_diagonal


def _check(distances, bank_distances) -> tuple[Array, Array | None]:
    distances = matrix('distances', distances)
    if bank_distances is None:
        return without_diagonal(distances), None
    bank = without_diagonal(matrix('bank_distances', bank_distances))
    if bank.shape[1] != distances.shape[1]:
        raise ValueError(
            f'distances and bank_distances must have as many columns, '
            f'and are {list(distances.shape)} and {list(bank.shape)}'
        )
    return distances, bank


def _smallest(distances: Array, k: int, *, itself: bool) -> Array:
    if not 1 <= k <= distances.shape[1] - itself:
        raise ValueError(f'k={k} is too large: distances have shape {list(distances.shape)}')
    return -jax.lax.top_k(-distances, k)[0]


def _radii(distances, bank_distances, k: int, reduce) -> tuple[Array, Array, Array]:
    """The distances, and a statistic of the k nearest of each query (column) and of each bank row (row).

    The diagonal of a set with itself is zero here: an infinite one has no gradient even where it is replaced.
    """
    distances, bank = _check(distances, bank_distances)
    mine = reduce(_smallest(distances, k, itself=bank is None))
    theirs = mine if bank is None else reduce(_smallest(bank, k, itself=True))
    return _zero_diagonal(distances, bank_distances), mine[:, None], theirs[None]


def _zero_diagonal(out: Array, bank_distances, value: float = 0.0) -> Array:
    return jnp.where(jnp.eye(len(out), dtype=bool), value, out) if bank_distances is None else out


def local_scaling(
    distances: Float[ArrayLike, 'queries bank'],
    bank_distances: Float[ArrayLike, 'bank bank'] | None = None,
    *,
    k: int = 5,
) -> Float[Array, 'queries bank']:
    """Local scaling, 1 − exp(−d² / (r_i r_j)) with r the distance to the k-th neighbour.

    Args:
      distances, bank_distances: see the module.
      k: neighbours that set the scale.

    Returns:
      Distances in [0, 1]; where r_i r_j = 0, 0 for d = 0 and else 1, the limits.

    Cost: O(queries·bank).

    References:
      Zelnik-Manor and Perona 2004, "Self-tuning spectral clustering"; Schnitzer et al. 2012,
      https://jmlr.org/papers/v13/schnitzer12a.html, eq. 2.
    """
    distances, mine, theirs = _radii(distances, bank_distances, k, lambda d: d[:, -1])
    return _zero_diagonal(-jnp.expm1(-(_over(distances, mine, theirs) ** 2)), bank_distances)


def _over(distances: Array, mine: Array, theirs: Array) -> Array:
    """D / √(r_i r_j), the roots taken first so that small radii do not underflow; 0 / 0 = 0."""
    scale = root(mine) * root(theirs)
    limit = jnp.where(distances > 0, jnp.inf, 0.0)
    return jnp.where(scale > 0, distances / jnp.where(scale > 0, scale, 1.0), limit)


def nicdm(
    distances: Float[ArrayLike, 'queries bank'],
    bank_distances: Float[ArrayLike, 'bank bank'] | None = None,
    *,
    k: int = 5,
) -> Float[Array, 'queries bank']:
    """Non-iterative contextual dissimilarity, d / √(r̄_i r̄_j) with r̄ the mean distance of the k nearest.

    Args:
      distances, bank_distances: see the module.
      k: neighbours that set the scale.

    Returns:
      Distances ≥ 0 without unit, about 1 among neighbours; 0 or ∞ where r̄_i r̄_j = 0.

    Cost: O(queries·bank).

    References:
      Jégou et al. 2007; Schnitzer et al. 2012, https://jmlr.org/papers/v13/schnitzer12a.html, eq. 3.
    """
    distances, mine, theirs = _radii(distances, bank_distances, k, lambda d: jnp.mean(d, axis=1))
    return _zero_diagonal(_over(distances, mine, theirs), bank_distances)


def csls(
    distances: Float[ArrayLike, 'queries bank'],
    bank_distances: Float[ArrayLike, 'bank bank'] | None = None,
    *,
    k: int = 5,
) -> Float[Array, 'queries bank']:
    """Cross-domain similarity local scaling, turned into a distance: 2d − r̄_i − r̄_j on cosine distances.

    With d = 1 − cosine this is the negative of the paper's 2·cos − r̄_i − r̄_j, r̄ its mean cosine of
    the k nearest: the ones cancel.

    Args:
      distances, bank_distances: cosine distances; see the module.
      k: neighbours of the mean; the paper takes 10.

    Returns:
      Values of either sign, in [−4, 4]; 0 off the diagonal when all distances are equal, −∞ on the
      diagonal of a set with itself.

    Cost: O(queries·bank).

    References:
      Lample et al. 2018, https://arxiv.org/abs/1710.04087, eq. 3.
    """
    distances, mine, theirs = _radii(distances, bank_distances, k, lambda d: jnp.mean(d, axis=1))
    return _zero_diagonal(2.0 * distances - mine - theirs, bank_distances, -jnp.inf)


def mutual_proximity(
    distances: Float[ArrayLike, 'queries bank'], bank_distances: Float[ArrayLike, 'bank bank'] | None = None
) -> Float[Array, 'queries bank']:
    """Mutual proximity under independent Gaussians, 1 − S_i(d)·S_j(d).

    S is the survival function of a Gaussian with the mean and standard deviation (ddof 0) of all
    distances of that row, its own left out. Evaluated as F_i + F_j − F_i F_j with F = 1 − S, which keeps
    its digits for near neighbours.

    Args:
      distances, bank_distances: see the module.

    Returns:
      Distances in [0, 1]; a row whose distances are all equal has S = ½.

    Cost: O(queries·bank).

    References:
      Schnitzer et al. 2012, https://jmlr.org/papers/v13/schnitzer12a.html, eq. 6 and section 3.2.2.
    """
    distances, bank = _check(distances, bank_distances)

    def moments(d: Array) -> tuple[Array, Array]:
        kept = jnp.isfinite(d)
        count = jnp.sum(kept, axis=1)
        mean = jnp.sum(jnp.where(kept, d, 0.0), axis=1) / count
        spread = jnp.where(kept, d - mean[:, None], 0.0)
        return mean, root(jnp.sum(spread * spread, axis=1) / count)

    def cdf(d: Array, mean: Array, deviation: Array) -> Array:
        finite = jnp.isfinite(d)
        standard = (jnp.where(finite, d, mean) - mean) / jnp.where(deviation > 0, deviation, 1.0)
        below = jax.scipy.stats.norm.cdf(jnp.where(deviation > 0, standard, 0.0))
        return jnp.where(finite, below, jnp.heaviside(d, 0.0))

    mine = moments(distances)
    theirs = mine if bank is None else moments(bank)
    f_i = cdf(distances, mine[0][:, None], mine[1][:, None])
    f_j = cdf(distances, theirs[0][None], theirs[1][None])
    return _zero_diagonal(f_i + f_j - f_i * f_j, bank_distances)


def dissim_local(
    x: Float[ArrayLike, 'queries dim'], y: Float[ArrayLike, 'bank dim'] | None = None, *, k: int = 5
) -> Float[Array, 'queries bank']:
    """DisSimLocal, ‖x − y‖² − ‖x − c_x‖² − ‖y − c_y‖² with c the centroid of the k nearest in the bank.

    Args:
      x: queries, as vectors: centroids need them.
      y: the bank; by default `x` itself.
      k: neighbours of the centroid.

    Returns:
      Values of either sign, in squared units; −∞ on the diagonal of a set with itself.

    Cost: O(queries·bank·dim).

    References:
      Hara et al. 2016, https://doi.org/10.1609/aaai.v30i1.10234, eq. 4.
    """
    itself = y is None
    x, y = pair(x, x if itself else y, names=('x', 'y'), same='dim')

    def away(rows: Array, index: Array) -> Array:
        return squared_norms(rows - jnp.mean(y[index], axis=1))

    theirs = away(y, nearest(y, k=k)[1])
    mine = theirs if itself else away(x, nearest(x, y, k=k)[1])
    out = pairwise_distances(x, None if itself else y, metric='squared') - mine[:, None] - theirs[None]
    return jnp.where(jnp.eye(len(out), dtype=bool), -jnp.inf, out) if itself else out
