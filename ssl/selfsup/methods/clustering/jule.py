"""JULE (Yang et al. 2016, https://arxiv.org/abs/1604.03628): clusters that are merged step by step, and learned."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...errors import UserError
from ...signature import Count, Domain, NonNegative, OpenShare, Positive
from ..base import Method, Refresh, embedding_width, heads, unit
from ..memory import check_size
from ..siamese import siamese
from .heads import check_clusters, filled, unclustered

# Of the set, whose pairs are all compared: 20,000² float32 are 1.6 GB.
LARGEST = 20000


def jule(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    clusters: Count = 10,
    merged: OpenShare = 0.2,
    every_epochs: Count = 20,
    neighbours: Count = 20,
    local: Annotated[int, Domain(int, least=2)] = 5,
    margin: NonNegative = 0.2,
    positive_weight: Positive = 1.0,
    negatives: Count = 20,
) -> Method:
    """JULE: small clusters of the images are merged between epochs until `clusters` are left, and learned by triplets.

    Before the first epoch each image is with its nearest neighbour by pixels. Every few epochs a share of the clusters
    is merged away, the pairs of largest affinity in the graph of nearest neighbours of the unit embeddings
    (:func:`selfsup.diagnostics.agglomerate`). In between the network learns :func:`selfsup.losses.weighted_triplet`
    with the clusters as they are. The mean over views, if there are several; the authors show images as they are. The
    control takes each image's cluster from another image.

    Args:
      encoder, projector: flax modules. Authors' projector: a linear layer of 160.
      data_size: examples in the data set, at most 20000, since all pairs of them are compared.
      clusters: where merging ends; the authors give the number of classes.
      merged: η, the share of the clusters that one refresh merges away. Authors: 0.2 or 0.9.
      every_epochs: between merges. Authors: 20.
      neighbours, local: of the graph, and K of :func:`selfsup.diagnostics.agglomerate`. Authors: 20 and 5.
      margin, positive_weight, negatives: m, γ and the number of negatives. Authors: 0.2, 1, 20.

    Metric: `clusters_left`. State: each image's cluster, rows padded to a multiple of 256; unit means of clusters
    `[data_size / 2, dim]`, of which the first `left` are in use (0 before the first refresh). `assign` asks the means.

    References:
      Yang et al. 2016, https://arxiv.org/abs/1604.03628; `train.lua` of the authors.
    """
    check_size('jule', data_size)
    check_clusters('jule', clusters, data_size)
    slots = max(data_size // 2, 1)
    if neighbours >= data_size or local > slots:
        raise UserError(
            f'jule cannot find method.neighbours={neighbours} neighbours and method.local={local} clusters '
            f'among {data_size} images'
        )
    modules = heads(encoder, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        if data_size > LARGEST:
            raise UserError(
                f'jule compares all pairs of at most {LARGEST} images, and has {data_size}; data.per_class takes fewer'
            )
        params, extra = base.init(key, batch)
        dim = embedding_width(modules, params, extra['batch_stats'], batch)
        own = {'per_example': {'clusters': unclustered(data_size, 1)}}
        return params, {**extra, **own, 'prototypes': jnp.zeros((slots, dim)), 'left': jnp.zeros((), jnp.int32)}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        own, views = extra['per_example']['clusters'][batch['index']][:, 0], outputs['embeddings']
        lots = jax.random.uniform(key, (len(own), len(own)))
        fields = {'margin': margin, 'positive_weight': positive_weight, 'negatives': negatives}
        value = sum(losses.weighted_triplet(z, own, lots, **fields) for z in views) / len(views)
        return value, (extra, {'clusters_left': extra['left'].astype(value.dtype)})

    def seen(params: Any, extra: Any, inputs: Array) -> Array:
        """Embeddings, and the pixels that the first clusters are of."""
        z = base.encode(base.network(params, extra), inputs)['embeddings']
        return jnp.concatenate([unit(z), unit(inputs.reshape(len(inputs), -1))], axis=1)

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        dim = extra['prototypes'].shape[1]
        z, pixels = features[:, :dim], features[:, dim:]
        held, left = extra['per_example']['clusters'], extra['left']
        first = diagnostics.neighbour_chains(pixels)
        graph = diagnostics.neighbour_affinity(z, neighbours=neighbours)
        begun = left > 0
        now = jnp.where(begun, held[: len(z), 0], first)
        count = jnp.max(now) + 1
        # The share is rounded up, as the authors' is.
        less = jnp.maximum(count - jnp.ceil(merged * count).astype(count.dtype), clusters)
        member = diagnostics.agglomerate(graph, now, z, left=jnp.where(begun, less, count), slots=slots, local=local)
        which = jax.nn.one_hot(member, slots, dtype=z.dtype)
        means = unit(jnp.matmul(which.T, z, precision='highest'))
        found = {
            'per_example': {'clusters': filled(held, member[:, None])},
            'prototypes': means.astype(extra['prototypes'].dtype),
            'left': (jnp.max(member) + 1).astype(left.dtype),
        }
        return params, {**extra, **found}, ()

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        scores = jnp.matmul(unit(outputs['embeddings']), extra['prototypes'].T, precision='highest')
        used = jnp.arange(slots) < jnp.maximum(extra['left'], 1)
        return jnp.where(used[None], scores, -jnp.inf)

    base = siamese(encoder, projector, criterion)
    return base._replace(
        init=init,
        refresh=Refresh(refresh, every_epochs=every_epochs, needs_features=True, encode=seen),
        views=1,
        assign=assign,
    )
