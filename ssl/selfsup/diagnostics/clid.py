"""CLID: cluster learnability and intrinsic dimension."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from ._common import matrix, pair
from .clusters import kmeans
from .dimension import two_nn
from .neighbours import nearest


def cluster_learnability(
    key: Key[Array, ''],
    z: Float[ArrayLike, 'samples dim'],
    *,
    clusters: int = 10,
    k: int = 10,
    held_out: float = 0.5,
    iterations: int = 50,
) -> Float[Array, '']:
    """Cluster learnability: accuracy of a k-NN vote on held-out rows whose classes are k-means clusters.

    All rows are clustered; a random part is then held out, and its clusters are predicted from the `k`
    nearest of the rest, one vote each, ties to the smaller index. The paper states the parts and
    not each size, so they are keywords here: compare models with the same ones only.

    Args:
      key: for the split and the seeds of k-means.
      z: embeddings, one a row; distances are Euclidean, not centred, not normalised.
      clusters, iterations: of :func:`kmeans`.
      k: neighbours.
      held_out: share of the rows to predict.

    Returns:
      A scalar in [0, 1]. 1 at full collapse (one cluster has everything), and 1 for well separated
      clumps: learnability alone is no measure of quality, hence the sum with the dimension. Isotropic
      noise falls with the dimension towards 1 / clusters. Some hundred samples a cluster.

    Cost: O(samples²·dim + iterations·samples·clusters·dim).

    References:
      Lu et al. 2022, https://arxiv.org/abs/2206.01251, section 3.
    """
    z = matrix('z', z, rows=2)
    order_key, seed_key = jax.random.split(key)
    z = z[jax.random.permutation(order_key, z.shape[0])]
    queries = round(z.shape[0] * held_out)
    if not 1 <= queries <= z.shape[0] - k:
        raise ValueError(f'held_out={held_out} of z, of shape {list(z.shape)}, does not leave k={k} rows to learn from')
    _, member = kmeans(seed_key, z, clusters=clusters, iterations=iterations)
    _, index = nearest(z[:queries], z[queries:], k=k)
    votes = jnp.sum(jax.nn.one_hot(member[queries:][index], clusters, dtype=z.dtype), axis=1)
    return jnp.mean(jnp.argmax(votes, axis=1) == member[:queries], dtype=z.dtype)


def clid(
    key: Key[Array, ''],
    z: Float[ArrayLike, 'samples dim'],
    *,
    clusters: int = 10,
    k: int = 10,
    held_out: float = 0.5,
    iterations: int = 50,
) -> dict[str, Float[Array, '']]:
    """The two halves of CLID for one model: `learnability` and `dimension` (TwoNN).

    They have different units, so a single number exists only among several models: :func:`clid_scores`.

    Args:
      key, z, clusters, k, held_out, iterations: as in :func:`cluster_learnability`.

    Returns:
      `learnability` in [0, 1] and `dimension` ≥ 0; 1 and 0 at full collapse; isotropic noise is high in
      dimension and low in learnability.

    Cost: O(samples²·dim).

    References:
      Lu et al. 2022, https://arxiv.org/abs/2206.01251.
    """
    learnability = cluster_learnability(key, z, clusters=clusters, k=k, held_out=held_out, iterations=iterations)
    return {'learnability': learnability, 'dimension': two_nn(z)}


def clid_scores(
    learnability: Float[ArrayLike, 'models'], dimension: Float[ArrayLike, 'models']
) -> Float[Array, 'models']:
    """CLID of several models: the sum of both halves, each standardised over the models (ddof 0).

    Args:
      learnability, dimension: of each model, measured on the same data with the same settings.

    Returns:
      One score a model, of mean 0: relative to this set of models and to no other. A half that is the
      same for all counts 0.

    References:
      Lu et al. 2022, https://arxiv.org/abs/2206.01251, section 3.
    """
    halves = [jnp.asarray(half)[:, None] for half in (learnability, dimension)]
    first, second = pair(*halves, names=('learnability', 'dimension'))

    def standard(values: Array) -> Array:
        centred = values - jnp.mean(values)
        deviation = jnp.sqrt(jnp.mean(centred * centred))
        return (centred / jnp.where(deviation > 0, deviation, 1.0))[:, 0]

    return standard(first) + standard(second)
