"""ClusterNS (Deng et al. 2023, https://arxiv.org/abs/2305.09892): clusters tell hard from false negatives."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...signature import Domain, NonNegative, Number, Positive, Share
from ..base import Method, embedding_width, heads, mean_cosine, only_two, unit
from ..siamese import siamese

# Each row has a second nearest centroid.
Clusters = Annotated[int, Domain(int, least=2, static=True)]


def far_rows(
    key: Any, z1: Float[Array, 'batch dim'], z2: Float[Array, 'batch dim'], count: int
) -> Float[Array, 'count dim']:
    """Unit rows of `z1`: one at random, then each time the least like the last among those not taken, by cos(z1, z2).

    Raises:
      UserError: more rows than there are.
    """
    if count > len(z1):
        raise UserError(f'method.clusters={count} cannot be chosen from a batch of {len(z1)}')
    z1, z2 = unit(jax.lax.stop_gradient(z1)), unit(jax.lax.stop_gradient(z2))
    cosines = jnp.matmul(z1, z2.T, precision='highest')

    def another(state: tuple, _: Any) -> tuple:
        last, taken = state
        nearest = jnp.argmin(jnp.where(taken, jnp.inf, cosines[last])).astype(last.dtype)
        return (nearest, taken.at[nearest].set(True)), nearest

    first = jax.random.randint(key, (), 0, len(z1), jnp.int32)
    # Made of the cosines, since under the check of `shard_map` what a loop carries is as they are, varying or not.
    taken = jnp.diagonal(cosines) > jnp.inf
    start = first + jnp.sum(taken, dtype=jnp.int32), taken.at[first].set(True)
    _, others = jax.lax.scan(another, start, length=count - 1)
    return z1[jnp.concatenate([first[None], others])]


def cluster_ns(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.05,
    clusters: Clusters = 128,
    start_cosine: Number = 0.4,
    rate: Share = 0.05,
    weight: NonNegative = 1e-4,
    least: NonNegative = 0.0,
    most: NonNegative = 0.3,
    fuse_views: bool = True,
) -> Method:
    """In-batch contrast with the second nearest centroid of each row as a negative, and bounds inside a cluster.

    SimCSE's loss alone until the mean cosine of all rows of one view with all of the other falls to `start_cosine`.
    That batch gives the centroids, rows far from one another; from the next step on they move first, each towards the
    mean of its rows (:func:`selfsup.losses.moved_centroids`), and then serve :func:`selfsup.losses.cluster_negatives`.

    Args:
      encoder, projector: flax modules.
      temperature: τ. Authors: 0.05.
      clusters: how many centroids, at least two and at most the batch. Authors: 128.
      start_cosine: below which the centroids are made. Authors: 0.4.
      rate: of the centroids. The authors' momentum form adds up the rows of a cluster where the mean is taken here.
      weight, least, most: w, α and β of the margin. Authors: 1e-4; 0 to 0.25; 0.2 to 0.6.
      fuse_views: whether the two views share batch-norm statistics.

    Two views. Metrics: `positive_cosine`, `started` (0 or 1), `occupied`, the share of centroids that rows of the batch
    are nearest to. State: `centroids` `[clusters, dim]` of zeros until they are made, `started`.

    Raises:
      UserError: more clusters than rows, or more than two views.

    References:
      Deng et al. 2023, https://arxiv.org/abs/2305.09892, section 3; `kmeans_cluster` of the authors.
    """
    modules = heads(encoder, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = embedding_width(modules, params, extra['batch_stats'], batch)
        return params, {**extra, 'centroids': jnp.zeros((clusters, width)), 'started': jnp.zeros((), bool)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        z1, z2 = outputs['embeddings']
        started, n1, n2 = extra['started'], *(unit(jax.lax.stop_gradient(z)) for z in (z1, z2))
        alike = jnp.sum(jnp.mean(n1, axis=0) * jnp.mean(n2, axis=0))  # the mean of all cosines
        old = extra['centroids'].astype(n1.dtype)
        centroids = jnp.where(started, losses.moved_centroids(n1, old, rate=rate), old)
        full = losses.cluster_negatives(
            z1, z2, centroids, temperature=temperature, weight=weight, least=least, most=most
        )
        value = jnp.where(started, full, losses.info_nce_in_batch(z1, z2, temperature=temperature))
        begins = ~started & (alike <= start_cosine)
        centroids = jnp.where(begins, far_rows(key, z1, z2, clusters), centroids).astype(extra['centroids'].dtype)
        nearest = jnp.argmax(jnp.matmul(n1, old.T, precision='highest'), axis=1)
        used = jnp.zeros(clusters, bool).at[nearest].set(True)
        metrics = {
            'positive_cosine': mean_cosine(z1, z2),
            'started': started.astype(jnp.float32),
            'occupied': jnp.mean(used.astype(jnp.float32)),
        }
        return value, ({**extra, 'centroids': centroids, 'started': started | begins}, metrics)

    base = siamese(encoder, projector, criterion, fuse_views=fuse_views)
    return base._replace(init=init, embed=embed)
