"""Clustering: k-means on the device, and how its clusters agree with the classes."""

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


@functools.partial(jax.jit, static_argnames=('clusters', 'iterations', 'mesh'))
def _fit(key: Array, z: Array, *, clusters: int, iterations: int, mesh: Mesh | None) -> tuple[Array, Array]:
    """Centres of one run of k-means, and its inertia."""
    z = constrain_batch(z, mesh)
    centres, member = diagnostics.kmeans(key, z, clusters=clusters, iterations=iterations)
    return centres, jnp.sum((z - centres[member]) ** 2)


@jax.jit
def _nearest(centres: Array, z: Array) -> Array:
    return jnp.argmin(diagnostics.pairwise_distances(z, centres, metric='squared'), axis=1)


def contingency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many rows have value a in one labelling and b in the other, over the values that occur."""
    a, b = (np.unique(x, return_inverse=True)[1] for x in (first, second))
    table = np.zeros((a.max() + 1, b.max() + 1), np.int64)
    np.add.at(table, (a, b), 1)
    return table


def normalized_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """NMI: mutual information over the mean of both entropies, in [0, 1]; 1 where both have one value only."""
    p = contingency(first, second) / len(first)

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
    table = contingency(first, second).astype(np.float64)

    def pairs(counts: np.ndarray) -> float:
        return float(np.sum(counts * (counts - 1)) / 2)

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = len(first) * (len(first) - 1) / 2
    expected, most = rows * columns / total if total else 0.0, 0.5 * (rows + columns)
    return 1.0 if most == expected else (together - expected) / (most - expected)


def matched(clusters: np.ndarray, labels: np.ndarray, *, count: int, classes: int) -> np.ndarray:
    """The class of each of `count` clusters under the one-to-one matching with most hits (Hungarian); −1 for none."""
    table = np.zeros((count, classes), np.int64)
    np.add.at(table, (clusters, labels), 1)
    names = np.full(count, -1)
    rows, columns = linear_sum_assignment(-table)
    names[rows] = columns
    return names


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
    keys = jax.random.split(jax.random.key(seed), max(restarts, 1))
    held = jnp.asarray(z)
    fits = [_fit(key, held, clusters=count, iterations=iterations, mesh=mesh) for key in keys]
    centres = fits[int(np.argmin([float(inertia) for _, inertia in fits]))][0]
    ours, theirs = (extract(lambda rows: _nearest(centres, rows), part, batch_size=8192) for part in (z, z_test))
    size = max(classes, int(test.labels.max()) + 1)
    named = matched(ours, train.labels, count=count, classes=size)
    flattered = matched(theirs, test.labels, count=count, classes=size)
    return {
        'cluster_accuracy': float(np.mean(named[theirs] == test.labels)),
        'cluster_accuracy_matched': float(np.mean(flattered[theirs] == test.labels)),
        'cluster_nmi': normalized_mutual_information(theirs, test.labels),
        'cluster_ari': adjusted_rand_index(theirs, test.labels),
    }
