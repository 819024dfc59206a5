"""PCL (Li et al. 2021, https://arxiv.org/abs/2005.04966): MoCo with prototypes of several clusterings."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...errors import UserError
from ...signature import Count, Counts, Domain, Positive, ScheduledShare, Whole
from ..base import Method, Refresh, target_network, unit
from ..memory import check_size
from ..queue import against_queue
from .heads import filled, unclustered


def pcl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    prototypes: Counts = (25000, 50000, 100000),
    temperature: Positive = 0.2,
    prototype_start: Whole = 0,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 20,
    restarts: Count = 5,
    queue: Count = 16384,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
) -> Method:
    """Prototypical contrastive learning: InfoNCE as :func:`.moco_v2`'s, plus the contrast with prototypes of clusters.

    Before every epoch the momentum network's unit embeddings of all images, without augmentation, are clustered once
    for each of `prototypes`; an image's query is then to find its cluster's prototype among all of a clustering, at
    temperatures that are low for dense clusters. The second term is the mean over clusterings. Prototypes, clusters and
    temperatures carry no gradient.

    Args:
      encoder, projector: flax modules; the authors' projector has no batch-norm (2048, 128).
      data_size: examples in the data set; `batch['index']` runs below it.
      prototypes: clusters of each clustering, at most the number of images. Authors: 25000, 50000, 100000.
      temperature: τ, of InfoNCE and the mean of those of prototypes. Authors: 0.2.
      prototype_start: steps before the second term counts. Authors: 20 epochs.
      iterations, restarts: of k-means. Authors: 20, 5.
      queue, momentum, groups: as in :func:`.moco_v2`. Authors: 16384, 0.999, 8 devices.

    State: that of MoCo v2; each image's clusters `[data_size, clusterings]`, rows padded to a multiple of 256; for each
    clustering its prototypes `[clusters, dim]` and temperatures `[clusters]`. `assign` asks the first clustering.

    References:
      Li et al. 2021, https://arxiv.org/abs/2005.04966, eq. 11, 12 and algorithm 1.
    """
    check_size('pcl', data_size)
    if max(prototypes) > data_size:
        raise UserError(f'pcl cannot make method.prototypes={prototypes!r} clusters of {data_size} images')
    contrast = partial(losses.info_nce, temperature=temperature)
    base = against_queue(
        encoder, projector, contrast, queue=queue, momentum=momentum, groups=groups, symmetric=False
    )  # fmt: skip

    def embedded(params: Any, extra: Any, inputs: Array) -> Array:
        return unit(base.encode(target_network(params, extra), inputs)['embeddings'])

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        dim = extra['queue'].shape[-1]
        return params, {
            **extra,
            'prototypes': tuple(jnp.zeros((count, dim)) for count in prototypes),
            'temperatures': tuple(jnp.full(count, temperature) for count in prototypes),
            'per_example': {'clusters': unclustered(data_size, len(prototypes))},
        }

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        value, (new, metrics) = base.criterion(params, outputs, extra, batch, key)
        query, own = outputs['embeddings'][0], extra['per_example']['clusters'][batch['index']]
        terms = [
            losses.prototype_nce(query, centres, own[:, number], heat)
            for number, (centres, heat) in enumerate(zip(extra['prototypes'], extra['temperatures'], strict=True))
        ]
        far = sum(terms) / len(terms)
        started = batch['step'] >= prototype_start
        metrics |= {'instance': value, 'prototype': far, 'clustered': jnp.mean(own >= 0)}
        return value + jnp.where(started, far, 0.0), (new, metrics)

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        centres, heats, members = [], [], []
        for number, count in enumerate(prototypes):
            found, member = diagnostics.kmeans(
                jax.random.fold_in(key, number),
                features,
                clusters=count,
                iterations=iterations,
                start='rows',
                empty='farthest',
                restarts=restarts,
            )
            centres.append(unit(found))
            heats.append(losses.concentrations(features, found, member, temperature=temperature))
            members.append(member)
        own = filled(extra['per_example']['clusters'], jnp.stack(members, axis=1))
        state = {'prototypes': tuple(centres), 'temperatures': tuple(heats), 'per_example': {'clusters': own}}
        return params, {**extra, **state}, ()

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        return jnp.matmul(unit(outputs['embeddings']), extra['prototypes'][0].T, precision='highest')

    return base._replace(
        init=init,
        criterion=criterion,
        refresh=Refresh(refresh, needs_features=True, encode=embedded),
        assign=assign,
    )
