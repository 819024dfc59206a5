"""DeepCluster (Caron et al. 2018, https://arxiv.org/abs/1807.05520): k-means between epochs, clusters as classes."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import diagnostics, losses
from ...signature import Count, Domain
from ..base import Method, Refresh, backbone, unit
from ..memory import check_size
from .heads import begun, check_clusters, filled, head_logits, unclustered


def no_whitening(dim: int, kept: int) -> dict[str, Array]:
    """The state of a whitening that no features have given yet: `mean` `[dim]` and `matrix` `[dim, kept]`."""
    return {'mean': jnp.zeros(dim), 'matrix': jnp.zeros((dim, kept))}


def fit_whitened(features: Float[Array, 'examples dim'], kept: int) -> dict[str, Array]:
    """The whitening by the first `kept` principal components."""
    found = diagnostics.fit_whitening(features, kind='pca', truncate=1e-6)
    return {'mean': found.mean, 'matrix': found.matrix[:, :kept]}


def whitened(whitening: dict[str, Array], features: Float[Array, 'batch dim']) -> Float[Array, 'batch kept']:
    """Rows whitened and scaled to unit length."""
    centred = features - whitening['mean'][None]
    return unit(jnp.matmul(centred, whitening['matrix'], precision='highest'))


def deepcluster(
    encoder: nn.Module,
    *,
    data_size: int,
    clusters: Count = 10000,
    components: Count = 256,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 20,
    balanced: bool = True,
) -> Method:
    """DeepCluster: before every epoch all images are clustered by their features, and a new linear head learns it.

    Features of the images without augmentation are whitened by their first principal components and scaled to unit
    length; k-means begins from random rows, and an empty cluster goes to the row farthest from its own centre (the
    authors' faiss splits a large cluster instead). The head then starts anew, N(0, 0.01²), and so does its optimiser's
    state, since the numbers of clusters mean nothing from one epoch to the next. The authors draw images evenly from
    the clusters; here an image weighs the inverse of its cluster's size, which they call the same (section 3.3).

    The mean over views, if there are several. The control takes each image's cluster from another image.

    Args:
      encoder: flax module. Authors: AlexNet or VGG-16 with Sobel filters in front, up to the last hidden layer.
      data_size: examples in the data set; `batch['index']` runs below it.
      clusters: at most the number of images. Authors: 10000, ten times the classes.
      components: principal components kept, of the features' width at most. Authors: 256.
      iterations: of k-means. Authors: 20.
      balanced: whether clusters weigh the same in the loss. Authors: yes; else most images may end in one cluster.

    State: parameters `head`, kernel `[1, dim, clusters]`; each image's cluster, rows padded to a multiple of 256;
    sizes, whitening and centres of the clusters. `assign` asks the centres: the head is new after each clustering.

    References:
      Caron et al. 2018, https://arxiv.org/abs/1807.05520, eq. 1 and 2, sections 3.3 and 4.
    """
    check_size('deepcluster', data_size)
    check_clusters('deepcluster', clusters, data_size)
    base = backbone(encoder)

    def head(key: Array, dim: int) -> dict[str, Array]:
        kernel = 0.01 * jax.random.normal(key, (1, dim, clusters))
        return {'kernel': kernel, 'bias': jnp.zeros((1, clusters))}

    def state(dim: int) -> dict[str, Any]:
        kept = min(components, dim)
        return {
            'per_example': {'clusters': unclustered(data_size, 1)},
            'sizes': jnp.zeros(clusters),
            'prototypes': jnp.zeros((clusters, kept)),
            'whitening': no_whitening(dim, kept),
        }

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        own = extra['per_example']['clusters'][batch['index']]
        weights = 1.0 / jnp.maximum(extra['sizes'][jnp.maximum(own, 0)], 1.0) if balanced else None
        views = [head_logits(params['head'], z) for z in outputs['embeddings']]
        value = sum(losses.cluster_cross_entropy(z, own, weights=weights) for z in views) / len(views)
        hits = jnp.mean(jnp.argmax(views[0], axis=-1) == own)
        return value, (extra, {'clustered': jnp.mean(own >= 0), 'cluster_hits': hits})

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        whitening = fit_whitened(features, extra['prototypes'].shape[1])
        start, new = jax.random.split(key)
        centres, member = diagnostics.kmeans(
            start,
            whitened(whitening, features),
            clusters=clusters,
            iterations=iterations,
            start='rows',
            empty='farthest',
        )
        sizes = jnp.sum(jax.nn.one_hot(member, clusters), axis=0)
        own = {'clusters': filled(extra['per_example']['clusters'], member[:, None])}
        state = {'per_example': own, 'sizes': sizes, 'prototypes': centres, 'whitening': whitening}
        return {**params, 'head': head(new, features.shape[1])}, {**extra, **state}, ('head',)

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        z = whitened(extra['whitening'], outputs['features'])
        return -diagnostics.pairwise_distances(z, extra['prototypes'], metric='squared')

    return base._replace(
        init=begun(base, head, state),
        criterion=criterion,
        refresh=Refresh(refresh, needs_features=True),
        views=1,
        assign=assign,
    )
