"""Unicom (An et al. 2023, https://arxiv.org/abs/2304.05884): clusters of another encoder, learned part by part."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...signature import Count, Domain, NonNegative, Positive
from ..base import Method, Refresh, backbone, unit
from ..memory import check_size
from .heads import check_clusters, filled, unclustered

StaticShare = Annotated[float, Domain(above=0, most=1, static=True)]


def unicom(
    encoder: nn.Module,
    *,
    data_size: int,
    clusters: Count = 1000000,
    class_share: StaticShare = 0.1,
    dim_share: StaticShare = 0.5,
    scale: Positive = 64.0,
    margin: NonNegative = 0.3,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 20,
) -> Method:
    """Cluster discrimination with a margin, over random parts of the classes and of the dimensions at each step.

    Images are clustered once, before the first step, by spherical k-means of the features that the encoder begins with:
    `init_from` names the one whose clusters are to be learned (the authors': CLIP's features of images and captions).
    Prototypes are parameters and begin as N(0, 0.01²); each step draws classes and dimensions for the whole batch. The
    mean over views, if there are several. The control takes each image's cluster from another image.

    Args:
      encoder: flax module, with the authors' last linear layer in it: its features are the embeddings, and what is
        evaluated.
      data_size: examples in the data set; `batch['index']` runs below it.
      clusters: at most the number of images. Authors: 1,000,000 of 400 million images.
      class_share, dim_share, scale, margin: of :func:`selfsup.losses.partial_margin`.
      iterations: of k-means.

    State: parameters `prototypes` `[clusters, dim]`; each image's cluster, rows padded to a multiple of 256.

    References:
      An et al. 2023, https://arxiv.org/abs/2304.05884, section 3 and algorithm 1.
    """
    check_size('unicom', data_size)
    check_clusters('unicom', clusters, data_size)
    base = backbone(encoder)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Array) -> tuple:
        own, views = extra['per_example']['clusters'][batch['index']][:, 0], outputs['embeddings']
        first, second = jax.random.split(key)
        lots = jax.random.uniform(first, (clusters,)), jax.random.uniform(second, (views[0].shape[1],))
        parts = {'class_share': class_share, 'dim_share': dim_share, 'scale': scale, 'margin': margin}
        found = [losses.partial_margin(z, params['prototypes'], own, *lots, **parts) for z in views]
        return sum(found) / len(found), (extra, {'clustered': jnp.mean(own >= 0)})

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        dim = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings'].shape[1]
        prototypes = 0.01 * jax.random.normal(jax.random.fold_in(key, 99), (clusters, dim))
        own = {'per_example': {'clusters': unclustered(data_size, 1)}}
        return {**params, 'prototypes': prototypes}, {**extra, **own}

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        _, member = diagnostics.kmeans(
            key, features, clusters=clusters, iterations=iterations, start='rows', empty='farthest', spherical=True
        )
        held = filled(extra['per_example']['clusters'], member[:, None])
        return params, {**extra, 'per_example': {'clusters': held}}, ()

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        return jnp.matmul(unit(outputs['embeddings']), unit(params['prototypes']).T, precision='highest')

    return base._replace(
        init=init,
        criterion=criterion,
        refresh=Refresh(refresh, every_epochs=0, needs_features=True),
        views=1,
        assign=assign,
    )
