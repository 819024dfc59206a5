"""Exact nearest neighbours, and hubness: how unevenly rows are chosen as neighbours."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import dot, matrix, pair, ratio, squared_norms, unit

METRICS = ('euclidean', 'cosine')


def pairwise_distances(
    x: Float[ArrayLike, 'queries dim'],
    y: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    metric: str = 'euclidean',
) -> Float[Array, 'queries bank']:
    """Distances of every row of `x` to every row of `y` (default: of `x`, with an exact zero diagonal).

    Args:
      x, y: two sets of one width.
      metric: 'euclidean', 'squared', or 'cosine' (1 − cosine, in [0, 2]; zero rows have cosine 0).

    Returns:
      Distances ≥ 0. Through ‖x‖² + ‖y‖² − 2x·y of rows less the mean of `y`, so in float32 a squared
      distance below 1e-6 of the spread is rounding; :func:`nearest` gives close ones exactly.

    Cost: O(queries·bank·dim) and queries·bank of memory.
    """
    if metric not in (*METRICS, 'squared'):
        raise ValueError(f"metric must be 'euclidean', 'squared' or 'cosine', not {metric!r}")
    itself = y is None
    x, y = pair(x, x if itself else y, names=('x', 'y'), same='dim')
    if metric == 'cosine':
        out = 1.0 - jnp.clip(dot(unit(x), unit(y).T), -1.0, 1.0)
    else:
        middle = jnp.mean(y, axis=0, keepdims=True)
        x, y = x - middle, y - middle
        out = jnp.maximum(squared_norms(x)[:, None] + squared_norms(y)[None] - 2.0 * dot(x, y.T), 0.0)
        if metric == 'euclidean':
            out = jnp.where(out > 0, jnp.sqrt(jnp.where(out > 0, out, 1.0)), 0.0)
    return jnp.where(jnp.eye(x.shape[0], dtype=bool), 0.0, out) if itself else out


def nearest(
    x: Float[ArrayLike, 'queries dim'],
    y: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    k: int,
    metric: str = 'euclidean',
    chunk: int = 1024,
) -> tuple[Float[Array, 'queries k'], Int[Array, 'queries k']]:
    """The `k` nearest rows of `y` to each row of `x`, nearest first, exact.

    Candidates come from a matrix product and their distances are then taken from differences, so that
    near duplicates have right distances too.

    Args:
      x: queries.
      y: the bank; by default `x` itself, and then no row is its own neighbour (duplicates are).
      k: neighbours, fewer than the rows to choose from allow.
      metric: 'euclidean' or 'cosine' (1 − cosine).
      chunk: queries at a time; the memory is chunk·(bank + k·dim).

    Returns:
      Distances and indices into `y`.

    Cost: O(queries·bank·dim).
    """
    if metric not in METRICS:
        raise ValueError(f'metric must be one of {METRICS}, not {metric!r}')
    itself = y is None
    x, y = pair(x, x if itself else y, names=('x', 'y'), same='dim')
    if not 1 <= k <= y.shape[0] - itself:
        raise ValueError(f'k={k} must lie between 1 and {y.shape[0] - itself}: the rows have shape {list(y.shape)}')
    cosine = metric == 'cosine'
    if cosine:
        x, bank = unit(x), unit(y)
    else:
        middle = jnp.mean(y, axis=0, keepdims=True)
        x, bank = x - middle, y - middle
    norms = squared_norms(bank)
    count, size = x.shape[0], min(chunk, x.shape[0])
    padding = -count % size
    queries = jnp.pad(x, ((0, padding), (0, 0))).reshape(-1, size, x.shape[1])
    positions = jnp.arange(count + padding).reshape(-1, size)

    def search(args):
        rows, position = args
        closeness = dot(rows, bank.T) if cosine else 2.0 * dot(rows, bank.T) - norms[None]
        if itself:
            closeness = jnp.where(position[:, None] == jnp.arange(len(bank))[None], -jnp.inf, closeness)
        index = jax.lax.top_k(closeness, k)[1]
        squared = jnp.sum((rows[:, None] - bank[index]) ** 2, axis=-1)
        if cosine:  # ‖u − v‖² = 2 − 2 cos; a zero row lacks its 1
            squared += (squared_norms(rows) < 0.5).astype(squared.dtype)[:, None] + (norms < 0.5)[index]
        order = jnp.argsort(squared, axis=1)
        return jnp.take_along_axis(squared, order, axis=1), jnp.take_along_axis(index, order, axis=1)

    squared, index = (a.reshape(-1, k)[:count] for a in jax.lax.map(search, (queries, positions)))
    if cosine:
        return 0.5 * squared, index
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0), index


def neighbour_recall(
    x: Float[ArrayLike, 'queries width'],
    z: Float[ArrayLike, 'queries dim'],
    *,
    x_bank: Float[ArrayLike, 'bank width'] | None = None,
    z_bank: Float[ArrayLike, 'bank dim'] | None = None,
    k: int = 10,
    metric: str = 'euclidean',
    chunk: int = 1024,
) -> Float[Array, '']:
    """Share of the `k` nearest rows in one space that are among the `k` nearest in another: mean |A ∩ B| / k.

    Args:
      x, z: the same rows in both spaces.
      x_bank, z_bank: rows to choose from, in both spaces; by default `x` and `z`, and no row finds itself.
      k, metric, chunk: see :func:`nearest`.

    Returns:
      In [0, 1]: 1 for equal sets, about k / bank for unrelated spaces.

    Cost: O(queries·bank·(width + dim)).
    """
    if (x_bank is None) != (z_bank is None):
        raise ValueError('x_bank and z_bank are given together, or neither')
    if len(x) != len(z) or (x_bank is not None and len(x_bank) != len(z_bank)):
        raise ValueError('both spaces must hold the same rows')
    _, ours = nearest(x, x_bank, k=k, metric=metric, chunk=chunk)
    _, theirs = nearest(z, z_bank, k=k, metric=metric, chunk=chunk)
    return jnp.mean(jnp.any(ours[:, :, None] == theirs[:, None], axis=2), dtype=jnp.result_type(float))


def nearest_by_distance(
    distances: Float[ArrayLike, 'queries bank'], *, k: int, itself: bool = False
) -> Int[Array, 'queries k']:
    """Indices of the `k` smallest entries of each row of a matrix of distances, the diagonal left out if `itself`."""
    distances = matrix('distances', distances)
    if itself:
        distances = without_diagonal(distances)
    if not 1 <= k <= distances.shape[1] - itself:
        raise ValueError(f'k={k} is too large: distances have shape {list(distances.shape)}')
    return jax.lax.top_k(-distances, k)[1]


def without_diagonal(distances: Array) -> Array:
    """Square distances with an infinite diagonal."""
    if distances.shape[0] != distances.shape[1]:
        raise ValueError(f'distances of a set to itself must be square, and have shape {list(distances.shape)}')
    return jnp.where(jnp.eye(len(distances), dtype=bool), jnp.inf, distances)


def occurrences(neighbours: Int[ArrayLike, 'queries k'], *, bank: int) -> Int[Array, 'bank']:
    """How often each of `bank` rows is among the neighbours of a query: the k-occurrence O."""
    return jnp.bincount(jnp.ravel(jnp.asarray(neighbours)), length=bank)


def hubness_of(neighbours: Int[ArrayLike, 'queries k'], *, bank: int) -> dict[str, Float[Array, '']]:
    """The measures of :func:`hubness`, from the indices of neighbours already found."""
    neighbours = jnp.asarray(neighbours)
    count = occurrences(neighbours, bank=bank).astype(jnp.result_type(float))
    mean = neighbours.size / bank
    deviation = count - mean
    variance = jnp.mean(deviation**2)
    safe = jnp.where(variance > 0, variance, 1.0)
    return {
        'skewness': ratio(jnp.mean(deviation**3), jnp.where(variance > 0, safe**1.5, 0.0), limit=0.0),
        'robin_hood': 0.5 * jnp.sum(jnp.abs(deviation)) / neighbours.size,
        'antihubs': jnp.mean(count == 0, dtype=count.dtype),
        'hubs': jnp.sum(jnp.where(count >= 2 * mean, count, 0.0)) / neighbours.size,
    }


def hubness(
    z: Float[ArrayLike, 'samples dim'], *, k: int = 10, metric: str = 'euclidean', chunk: int = 1024
) -> dict[str, Float[Array, '']]:
    """Hubness of a set: the distribution of O, how often a row is among the `k` nearest of another.

    Hubs make k-NN accuracy of an embedding worse than its geometry; `hub_reduction` mends distances
    after the fact, and centring before cosine is often enough.

    Args:
      z: embeddings, at least k + 1 rows; not centred (Euclidean distances do not mind).
      k: neighbours.
      metric: 'euclidean' or 'cosine'.
      chunk: see :func:`nearest`.

    Returns:
      `skewness`: E(O − k)³ / σ³, biased; 0 when all are chosen equally often. Isotropic Gaussian noise,
      2000 rows, k = 10: about −0.4 in 3 dimensions, 0.8 in 10, and 4 to 10 in 100 or more, much of it the draw.
      `robin_hood`: ½Σ|O − k| / ΣO in [0, 1), the share to be moved for equality.
      `antihubs`: share of rows that are nobody's neighbour.
      `hubs`: share of all neighbourhood places held by rows with O ≥ 2k.
      At full collapse all distances tie and the first rows win: skewness ≈ √(samples/k), both shares
      near 1; it reads as extreme hubness. A thousand samples or more; skewness grows with them.

    Cost: O(samples²·dim).

    References:
      Radovanović et al. 2010, https://jmlr.org/papers/v11/radovanovic10a.html, section 2; Feldbauer et
      al. 2018, https://arxiv.org/abs/1809.10413 (Robin Hood index).
    """
    z = matrix('z', z, rows=2)
    return hubness_of(nearest(z, k=k, metric=metric, chunk=chunk)[1], bank=z.shape[0])
