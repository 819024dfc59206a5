"""BECLR (Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444): a batch and its neighbours."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, Domain, NonNegative, Positive, ScheduledShare, StaticProperShare
from ..base import Method, Refresh, mean_cosine, only_two, unit, view_keys, weighted
from ..target import predicted_target

# What has a memory: the target's projections, the predictions, the trained network's projections.
TARGETS, PREDICTIONS, PROJECTIONS = range(3)
MASKS = 4  # stream of the masks' keys; target.py takes 0 and 1


def beclr(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module,
    *,
    queue: Count = 8192,
    clusters: Count = 200,
    neighbours: Count = 5,
    every_epochs: Count = 60,
    epsilon: Positive = 0.1,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 10,
    farthest: bool = False,
    repeated: bool = False,
    ratio: StaticProperShare = 0.0,
    patch: Count = 16,
    momentum: ScheduledShare = 0.995,
    uniformity_weight: NonNegative = 0.1,
    temperature: Positive = 2.0,
    fuse_views: bool = True,
) -> Method:
    """BECLR: UniSiam towards a target network, on a batch to which each row adds its neighbours in a clustered memory.

    Three memories keep both views of earlier batches: of the target's projections, of the predictions and of the
    trained network's projections. Every few epochs k-means of a memory's unit entries makes its clusters. Order of a
    step from then on: the batch's rows get clusters of equal size by Sinkhorn and take the place of the oldest entries;
    a prototype is the mean of its members (an empty cluster keeps its own); then each row adds the entries nearest to
    it in the cluster of the nearest prototype, itself among them, and the loss is of all rows.

    Entries carry no gradient, and neighbours of predictions are compared with neighbours of targets, as in the authors'
    code: the enlarged part gives the trained rows more negatives, and its positives have no gradient. With `repeated`
    a row's own prediction is compared with each of the target's neighbours instead, which are then its positives.

    Args:
      encoder, projector: flax modules. Authors: three layers of 512, batch-norm after all (`last_norm='affine'`).
      predictor: flax module. Authors: a quarter of that (batch-norm), then its width.
      queue: entries of a memory, at least both views of a batch. Authors: 40 for each cluster, 8192.
      clusters: at most `queue`; those of a first refresh with fewer entries wait for the next. Authors: 200.
      neighbours: k that each row adds. Authors: 5.
      every_epochs: how often clusters are made anew. Authors: 60, and nothing is added before that.
      epsilon, iterations, farthest: of :func:`selfsup.losses.balanced_clusters`. The authors' code: far ones.
      repeated: see above.
      ratio: share of patches that the trained network does not see, set to 0. Authors: 0.05 to 0.25 by image, with
        `patch` 16, on images of 224; none on those of 32.
      patch: side of such a patch; it must divide the images'.
      momentum: m of the target, moved after the optimiser's step. Authors: a cosine from 0.995 to 1.
      uniformity_weight, temperature: λ and T of :func:`selfsup.losses.beclr`. Authors: 0.1 and 2.
      fuse_views: whether the two views share batch-norm statistics. Authors: yes.

    Metrics: both terms, `enlarged` (0 or 1), `positive_cosine`. State: the target; `memory` `[3, queue, dim]`, each
    entry's cluster `members` `[3, queue]` (−1 before there are any), `prototypes` `[3, clusters, dim]`, `pointer`, the
    entries so far (`filled`), `started`. `assign` asks the prototypes of the trained network's projections.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444; `dyce.py` and `train.py`.
    """
    if max(clusters, neighbours) > queue:
        raise UserError(
            f'beclr cannot find method.clusters={clusters} clusters or method.neighbours={neighbours} neighbours in '
            f'method.queue={queue} entries'
        )

    def shown(views: tuple, batch: dict) -> tuple:
        # A batch without keys, such as one that shapes are read from, is seen whole.
        if not ratio or batch.get('keys') is None:
            return views
        keys = view_keys(batch, MASKS)
        return tuple(_masked(x, keys(number)) for number, x in enumerate(views))

    def _masked(images: Array, keys: Array) -> Array:
        if images.ndim != 4 or any(side % patch for side in images.shape[1:3]):
            raise UserError(f'method.patch={patch} must divide the sides of images, and views are {list(images.shape)}')
        rows, columns = (side // patch for side in images.shape[1:3])
        hidden = masking.random(keys, (rows, columns), ratio)[1].reshape(-1, rows, 1, columns, 1, 1)
        cells = images.reshape(-1, rows, patch, columns, patch, images.shape[3])
        return jnp.where(hidden, 0.0, cells).reshape(images.shape)

    base = predicted_target(
        encoder,
        projector,
        predictor,
        lambda predictions, targets: jnp.zeros(()),
        momentum=momentum,
        ahead=0,
        own_start=False,
        fuse_views=fuse_views,
        shown=shown,
    )

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        dim = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings'].shape[1]
        return params, {
            **extra,
            'memory': jnp.zeros((3, queue, dim)),
            'members': jnp.full((3, queue), -1, jnp.int32),
            'prototypes': jnp.zeros((3, clusters, dim)),
            'pointer': jnp.zeros((), jnp.int32),
            'filled': jnp.zeros((), jnp.int32),
            'started': jnp.zeros((), bool),
        }

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def entered(held: tuple, z: Array, started: Array, places: Array) -> tuple[Array, Array, Array]:
        """Memory, members and prototypes after rows took their places."""
        memory, members, prototypes = held
        own = losses.balanced_clusters(z, prototypes, epsilon=epsilon, iterations=iterations, farthest=farthest)
        memory = memory.at[places].set(z.astype(memory.dtype))
        members = members.at[places].set(jnp.where(started, own, -1).astype(members.dtype))
        which = jax.nn.one_hot(members, clusters, dtype=memory.dtype)
        sizes = jnp.sum(which, axis=0)[:, None]
        means = jnp.matmul(which.T, memory, precision='highest') / jnp.maximum(sizes, 1.0)
        return memory, members, jnp.where(started & (sizes > 0), means, prototypes)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['targets'], outputs['predictions'], outputs['embeddings']
        rows = 2 * len(views[0][0])
        if rows > queue:
            raise UserError(f'method.queue={queue} must hold both views of a batch, {rows} rows')
        started = extra['started']
        places = (extra['pointer'] + jnp.arange(rows, dtype=jnp.int32)) % queue
        both = jax.lax.stop_gradient(jnp.stack([jnp.concatenate(pair) for pair in views]))
        held = extra['memory'], extra['members'], extra['prototypes']
        held = jax.vmap(entered, in_axes=(0, 0, None, None))(held, both, started, places)
        near = jax.vmap(partial(losses.nearest_members, neighbours=neighbours))(both, *held)

        def enlarged(kind: int, pair: tuple) -> tuple:
            found = jnp.split(near[kind].astype(pair[0].dtype), 2)
            if repeated and kind == PREDICTIONS:
                found = [jnp.repeat(z[:, None], neighbours, axis=1) for z in pair]
            return tuple(jnp.concatenate([z, x.reshape(-1, z.shape[1])]) for z, x in zip(pair, found, strict=True))

        def terms_of(t: tuple, p: tuple, z: tuple) -> dict[str, Array]:
            return losses.beclr_terms(*p, *t, *z, temperature=temperature)

        more = tuple(enlarged(kind, pair) for kind, pair in enumerate(views))
        terms = jax.tree.map(partial(jnp.where, started), terms_of(*more), terms_of(*views))
        new = dict(zip(('memory', 'members', 'prototypes'), held, strict=True))
        new |= {'pointer': (extra['pointer'] + rows) % queue, 'filled': jnp.minimum(extra['filled'] + rows, queue)}
        metrics = {**terms, 'enlarged': started, 'positive_cosine': mean_cosine(views[1][0], views[0][1])}
        return weighted(terms, alignment=1.0, uniformity=uniformity_weight), ({**extra, **new}, metrics)

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        there = jnp.arange(queue) < extra['filled']

        def clustered(key: Array, memory: Array) -> tuple[Array, Array]:
            return diagnostics.kmeans(key, unit(memory), clusters=clusters, valid=there)

        centres, members = jax.vmap(clustered)(jax.random.split(key, 3), extra['memory'])
        enough = extra['filled'] >= clusters
        found = {'prototypes': centres, 'members': members.astype(jnp.int32), 'started': enough}
        kept = {name: jnp.where(enough, value, extra[name]) for name, value in found.items()}
        return params, {**extra, **kept, 'started': extra['started'] | enough}, ()

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        return jnp.matmul(unit(outputs['embeddings']), unit(extra['prototypes'][PROJECTIONS]).T, precision='highest')

    return base._replace(
        init=init, embed=embed, criterion=criterion, refresh=Refresh(refresh, every_epochs=every_epochs), assign=assign
    )
