"""Clustering: k-means on the device, a method's own clusters, and how clusters agree with the classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array
from scipy.optimize import linear_sum_assignment

from .. import diagnostics
from ..errors import UserError
from ..parallel import constrain_batch
from .features import Features, check_both, extract, unit_rows


@functools.partial(jax.jit, static_argnames=('clusters', 'iterations', 'restarts', 'mesh'))
def fit_centres(
    key: Array,
    z: Array,
    valid: Array | None = None,
    *,
    clusters: int,
    iterations: int,
    restarts: int,
    mesh: Mesh | None,
) -> Array:
    """Centres `[clusters, dim]` of the best of several runs of k-means on the rows `z [n, dim]` that are `valid`."""
    z = constrain_batch(z, mesh)
    return diagnostics.kmeans(key, z, valid=valid, clusters=clusters, iterations=iterations, restarts=restarts)[0]


@jax.jit
def _nearest(centres: Array, z: Array) -> Array:
    return jnp.argmin(diagnostics.pairwise_distances(z, centres, metric='squared'), axis=1)


def contingency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many rows have value a in one labelling and b in the other, over the values that occur."""
    a, b = (np.unique(x, return_inverse=True)[1] for x in (first, second))
    return _counted(a, b, a.max() + 1, b.max() + 1)


def _counted(clusters: np.ndarray, labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """How many rows have each of `count` clusters and each of `classes` classes."""
    table = np.zeros((count, classes), np.int64)
    np.add.at(table, (clusters, labels), 1)
    return table


def normalized_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """NMI: mutual information over the mean of both entropies, in [0, 1]; 1 where both have one value only."""
    return _mutual_information(contingency(first, second))


def _mutual_information(table: np.ndarray) -> float:
    p = table / table.sum()

    def entropy(q: np.ndarray) -> float:
        q = q[q > 0]
        return float(-np.sum(q * np.log(q)))

    entropies = entropy(p.sum(axis=1)), entropy(p.sum(axis=0))
    information = sum(entropies) - entropy(p.ravel())
    return 1.0 if sum(entropies) == 0 else max(information, 0.0) / (0.5 * sum(entropies))


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """ARI: share of pairs on which both agree, 0 by chance and 1 for equal partitions; may be negative.

    References:
      Hubert and Arabie 1985, "Comparing partitions", eq. 5.
    """
    return _rand_index(contingency(first, second).astype(np.float64))


def _rand_index(table: np.ndarray) -> float:
    def pairs(counts: np.ndarray) -> float:
        return float(np.sum(counts * (counts - 1)) / 2)

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = pairs(table.sum())
    expected, most = rows * columns / total if total else 0.0, 0.5 * (rows + columns)
    return 1.0 if most == expected else (together - expected) / (most - expected)


def matched(clusters: np.ndarray, labels: np.ndarray, *, count: int, classes: int) -> np.ndarray:
    """The class of each of `count` clusters under the one-to-one matching with most hits (Hungarian); −1 for none."""
    return _named(_counted(clusters, labels, count, classes))


def _named(table: np.ndarray) -> np.ndarray:
    names = np.full(len(table), -1)
    rows, columns = linear_sum_assignment(-table)
    names[rows] = columns
    return names


def sizes(counts: np.ndarray) -> dict[str, float]:
    """How a clustering spreads its rows, by the number of rows of each cluster, not all 0.

    Returns:
      `used`, clusters with a row; `largest`, the share of the largest; `perplexity`, exp of the shares' entropy: the
      number of clusters where all are of one size, and 1 where one has everything.
    """
    shares = counts / counts.sum()
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)))
    return {
        'used': float(np.sum(counts > 0)),
        'largest': float(np.max(shares)),
        'perplexity': float(np.exp(entropy)),
    }


def agreement(table: np.ndarray) -> dict[str, float]:
    """How clusters fit classes, by the number of rows `[clusters, classes]` of each pair, not all 0; some may be empty.

    Returns:
      `accuracy_matched` under the one-to-one matching with most hits, made on these rows; `nmi`; `ari`.
    """
    table = np.asarray(table, np.float64)
    names = _named(table)
    hits = sum(table[cluster, name] for cluster, name in enumerate(names) if name >= 0)
    seen = table[np.ix_(table.sum(axis=1) > 0, table.sum(axis=0) > 0)]
    return {
        'accuracy_matched': float(hits / table.sum()),
        'nmi': _mutual_information(seen),
        'ari': _rand_index(seen),
    }


def assigned(
    clusters: np.ndarray, labels: np.ndarray, test_clusters: np.ndarray, test_labels: np.ndarray, *, count: int
) -> dict[str, float]:
    """How the clusters that a method itself assigns fit the classes.

    Args:
      clusters, labels: of train, `[n]`; labels of −1 are left out, but for the sizes.
      test_clusters, test_labels: of test.
      count: number of clusters.

    Returns:
      `assigned_accuracy`, test accuracy where clusters are named by the one-to-one matching on train's labels, and, of
      test, what :func:`agreement` and :func:`sizes` give, each with `assigned_` in front. Without labels, sizes alone.
    """
    found = sizes(np.bincount(test_clusters, minlength=count))
    known, test_known = labels >= 0, test_labels >= 0
    if known.any() and test_known.any():
        classes = int(max(labels.max(), test_labels.max())) + 1
        names = matched(clusters[known], labels[known], count=count, classes=classes)
        theirs, classes_of = test_clusters[test_known], test_labels[test_known]
        fit = agreement(_counted(theirs, classes_of, count, classes))
        found = {'accuracy': float(np.mean(names[theirs] == classes_of)), **fit, **found}
    return {f'assigned_{name}': value for name, value in found.items()}


def clustering(
    train: Features,
    test: Features,
    *,
    clusters: int = 0,
    restarts: int = 3,
    iterations: int = 50,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """k-means on unit rows of train, and how its clusters fit the classes of test.

    Args:
      train, test: features and labels; k-means reads train's features alone.
      clusters: number of them; 0 takes the number of classes.
      restarts: runs from other k-means++ seeds, of which the one of least inertia counts.
      iterations: of Lloyd's algorithm.
      seed: of the seeds.
      mesh: rows are spread over it.

    Returns:
      `cluster_nmi` and `cluster_ari` between clusters and labels of test; `cluster_accuracy`, test accuracy
      where each cluster is named by the one-to-one matching on train's labels; `cluster_accuracy_matched`,
      the literature's number, where the matching is made on test itself and so is too high.
    """
    train, test, classes = check_both(train, test, classes=1)
    count = clusters or classes
    if count > len(train.features):
        raise UserError(f'{count} clusters are more than the {len(train.features)} samples of train')
    z, z_test = unit_rows(train.features), unit_rows(test.features)
    key = jax.random.key(seed)
    centres = fit_centres(
        key, jnp.asarray(z), clusters=count, iterations=iterations, restarts=max(restarts, 1), mesh=mesh
    )
    ours, theirs = (extract(lambda rows: _nearest(centres, rows), part, batch_size=8192) for part in (z, z_test))
    size = max(classes, int(test.labels.max()) + 1)
    named = matched(ours, train.labels, count=count, classes=size)
    fit = agreement(_counted(theirs, test.labels, count, size))
    found = {'accuracy': float(np.mean(named[theirs] == test.labels)), **fit}
    return {f'cluster_{name}': value for name, value in found.items()}
