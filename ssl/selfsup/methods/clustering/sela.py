"""SeLa (Asano et al. 2020, https://arxiv.org/abs/1911.05371): labels of the whole set by optimal transport."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, Positive
from ..base import Method, Refresh, backbone
from ..memory import check_size
from .heads import begun, check_clusters, filled, head_logits, linear_heads, unclustered


def sela(
    encoder: nn.Module,
    *,
    data_size: int,
    clusters: Count = 3000,
    heads: Count = 10,
    sharpness: Positive = 25.0,
    every_epochs: Count = 1,
    iterations: Count = 1000,
    tolerance: Positive = 1e-3,
) -> Method:
    """Self-labelling: several linear heads learn labels that use all clusters equally, over the whole set.

    Before the first epoch and between epochs each head's log-probabilities of all images, without augmentation, are
    the scores of :func:`selfsup.losses.transport` with ε = 1/λ, images and clusters all weighing the same; an image's
    label is the cluster that gets most of it. The mean cross-entropy over heads, and over views if there are several.

    The authors pass augmented images through the network in training mode for this, 100 times spread quadratically
    over the run on ImageNet and 400 times evenly over 800 epochs on CIFAR. The control takes an image's labels from
    another image.

    Args:
      encoder: flax module.
      data_size: examples in the data set; `batch['index']` runs below it.
      clusters: of each head, at most the number of images. Authors: 3000, CIFAR 128.
      heads: classifiers with labels of their own. Authors: 10, CIFAR 20.
      sharpness: λ: P^λ is transported. Authors: 25, CIFAR 10.
      every_epochs: how often labels are made. Authors: every second epoch on CIFAR.
      iterations: of the transport, at most.
      tolerance: of the transport, see there.

    State: parameters `head`, kernel `[heads, dim, clusters]`; labels `[data_size, heads]`, rows padded to a multiple of
    256, and the share of them that the last transport changed. `assign` asks the first head.

    References:
      Asano et al. 2020, https://arxiv.org/abs/1911.05371, eq. 2 to 7 and section 3.3.
    """
    check_size('sela', data_size)
    check_clusters('sela', clusters, data_size)
    base = backbone(encoder)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        own = extra['per_example']['clusters'][batch['index']]
        views = [head_logits(params['head'], z) for z in outputs['embeddings']]
        value = sum(losses.cluster_cross_entropy(z, own) for z in views) / len(views)
        hits = jnp.mean(jnp.argmax(views[0], axis=-1) == own)
        return value, (extra, {'cluster_hits': hits, 'labels_changed': extra['changed']})

    def labelled(features: Array, head: dict[str, Array]) -> Array:
        logits = head_logits(jax.tree.map(lambda x: x[None], head), features)[:, 0]
        move = partial(losses.transport, epsilon=1.0 / sharpness, iterations=iterations, tolerance=tolerance)
        return jnp.argmax(move(jax.nn.log_softmax(logits, axis=1)), axis=1)

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        labels = jax.lax.map(partial(labelled, features), params['head']).T
        held = extra['per_example']['clusters']
        changed = jnp.mean(held[: len(labels)] != labels)
        return params, {**extra, 'per_example': {'clusters': filled(held, labels)}, 'changed': changed}, ()

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        return head_logits(params['head'], outputs['features'])[:, 0]

    return base._replace(
        init=begun(
            base,
            lambda key, dim: linear_heads(key, heads, dim, clusters),
            lambda dim: {'per_example': {'clusters': unclustered(data_size, heads)}, 'changed': jnp.ones(())},
        ),
        criterion=criterion,
        refresh=Refresh(refresh, every_epochs=every_epochs, needs_features=True),
        views=1,
        assign=assign,
    )
