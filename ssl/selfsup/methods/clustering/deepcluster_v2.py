"""DeepCluster v2 (Caron et al. 2020, https://arxiv.org/abs/2006.09882, appendix)."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...signature import Count, Domain, Positive
from ..base import (
    Method,
    Refresh,
    embedding_width,
    encode_with,
    heads,
    init_modules,
    mean_cosine,
    network_outputs,
    pairs,
    unit,
    view_keys,
)
from ..memory import padded


def deepcluster_v2(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    prototypes: Count = 3000,
    clusterings: Annotated[int, Domain(int, least=1, most=100)] = 3,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 10,
    temperature: Positive = 0.1,
    assign: Count = 2,
    fuse_views: bool = True,
) -> Method:
    """DeepCluster v2: every crop predicts its image's cluster in several k-means clusterings of the epoch before.

    A memory keeps the latest unit embedding of each image's global crops. Between epochs `refresh`
    clusters it, clustering h on crop h mod `assign`, by spherical k-means from random rows; centroids
    then stand as the weights of the classifier and get no gradient. The first epoch only fills the
    memory: images without a cluster have no loss. (The authors fill it by a pass before training.)

    Args:
      encoder, projector: flax modules. Paper's projector: 2048 (batch-norm), 128.
      data_size: examples in the data set; `batch['index']` runs below it.
      prototypes: clusters of each clustering. Paper: 3000.
      clusterings: how many, with different beginnings. Paper: 3.
      iterations: of k-means. Paper: 10.
      temperature: τ. Paper: 0.1.
      assign: how many of the first views are global crops, which the memory keeps. Paper: 2.
      fuse_views: whether views of one resolution share batch-norm statistics. Authors: yes.

    State: memory `[data_size, assign, dim]` and clusters `[data_size, clusterings]` with rows padded to
    a multiple of 256, and centroids `[clusterings, prototypes, dim]`. The method's `assign` asks the first clustering.
    """
    if prototypes > data_size:
        raise ValueError(f'prototypes={prototypes} clusters cannot be made of {data_size} examples')
    modules = heads(encoder, projector, None)
    rows = padded(data_size)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        dim = embedding_width(modules, params, stats, batch)
        return params, {
            'batch_stats': stats,
            'prototypes': jnp.zeros((clusterings, prototypes, dim)),
            'per_example': {
                'memory': jnp.zeros((rows, assign, dim)),
                'clusters': jnp.full((rows, clusterings), -1, jnp.int32),
            },
        }

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network_outputs(
            modules, params, extra['batch_stats'], batch['views'], train=True, fuse=fuse_views, keys=view_keys(batch)
        )
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views, index, held = outputs['embeddings'], batch['index'], extra['per_example']
        clusters = held['clusters'][index]
        value = losses.deepcluster(
            *views, prototypes=extra['prototypes'], assignments=clusters, temperature=temperature
        )
        new = jax.lax.stop_gradient(jnp.stack([unit(z) for z in pairs(views, count=assign)], axis=1))
        memory = held['memory'].at[index].set(new.astype(held['memory'].dtype))
        metrics = {'clustered': jnp.mean(clusters >= 0), 'positive_cosine': mean_cosine(*pairs(views))}
        return value, ({**extra, 'per_example': {**held, 'memory': memory}}, metrics)

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        memory = extra['per_example']['memory']
        found = []
        for number in range(clusterings):
            crop = memory[:, number % assign]
            valid = jnp.any(crop != 0, axis=1)
            own = jax.random.fold_in(key, number)
            found.append(
                diagnostics.kmeans(
                    own, crop, clusters=prototypes, iterations=iterations, start='rows', spherical=True, valid=valid
                )
            )
        new = {
            **extra,
            'prototypes': jnp.stack([centroids for centroids, _ in found]).astype(extra['prototypes'].dtype),
            'per_example': {'memory': memory, 'clusters': jnp.stack([c for _, c in found], axis=1).astype(jnp.int32)},
        }
        return params, new, ()

    def scored(params: Any, extra: Any, outputs: dict) -> Array:
        return jnp.matmul(unit(outputs['embeddings']), extra['prototypes'][0].T, precision='highest')

    return Method(init, embed, criterion, encode_with(modules), refresh=Refresh(refresh), assign=scored)
