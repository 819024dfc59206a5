"""SCAN (Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320): neighbours of a trained encoder share clusters."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...errors import UserError
from ...signature import Count, NonNegative, Share
from ..base import Method, Refresh, backbone, only_two
from ..memory import check_size, padded
from .heads import begun, check_clusters, head_logits, linear_heads

# Share of the old mean that the loss by which the best head is told keeps at each step.
MEMORY = 0.99


def scan(
    encoder: nn.Module,
    *,
    data_size: int,
    clusters: Count = 10,
    neighbours: Count = 20,
    heads: Count = 1,
    entropy_weight: NonNegative = 5.0,
) -> Method:
    """SCAN's clustering step: an image and one of its neighbours share a cluster, and clusters are even in size.

    It starts from a trained encoder: `init_from` names the workdir of a run, such as SimCLR's. Before the first step,
    and never again, the images nearest in that encoder's features (cosine, without augmentation) are found. Then the
    first view is of the image and the second of one of its neighbours, itself among them as in the authors' code, drawn
    anew at each step; so images must lie on the device (`data.feed=resident`). The whole network is trained; the loss
    is summed over heads. The authors take neighbours from the contrastive head's output, not from the features.

    The control draws the second view from a neighbour of another image.

    Args:
      encoder: flax module.
      data_size: examples in the data set.
      clusters: at most the number of images; the classes, where they are to be found. Authors: 10 on CIFAR-10.
      neighbours: beside the image itself. Authors: 20, 50 on ImageNet.
      heads: linear classifiers; the one of least loss is what `assign` asks. Authors: 1, 10 on ImageNet.
      entropy_weight: λ. Authors: 5.

    State: parameters `head`, kernel `[heads, dim, clusters]`; neighbours `[data_size, 1 + neighbours]`, rows padded to
    a multiple of 256; each head's running loss.

    References:
      Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320, sections 2.1 and 2.2, eq. 2.
    """
    check_size('scan', data_size)
    check_clusters('scan', clusters, data_size)
    if neighbours >= data_size:
        raise UserError(f'scan cannot find method.neighbours={neighbours} neighbours among {data_size} images')
    base, rows = _of_two_views(encoder), padded(data_size)

    def state(dim: int) -> dict[str, Any]:
        own = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32)[:, None], (rows, 1 + neighbours))
        return {'per_example': {'neighbours': own}, 'head_loss': jnp.zeros(heads)}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = (head_logits(params['head'], z) for z in outputs['embeddings'])
        terms = jax.vmap(losses.scan_terms, in_axes=1)(first, second)
        value = jnp.sum(terms['consistency'] - entropy_weight * terms['entropy'])
        return value, (_judged(extra, first, second), jax.tree.map(jnp.mean, terms))

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        _, found = diagnostics.nearest(features, k=neighbours, metric='cosine')
        own = jnp.arange(len(found), dtype=jnp.int32)[:, None]
        held = extra['per_example']['neighbours'].at[: len(found)].set(jnp.concatenate([own, found], axis=1))
        return params, {**extra, 'per_example': {'neighbours': held}}, ()

    def companions(extra: Any, index: Array, key: Array) -> Array:
        place = jax.random.randint(key, index.shape, 0, 1 + neighbours)
        return extra['per_example']['neighbours'][index, place]

    return base._replace(
        init=begun(base, partial(_heads, heads, clusters), state),
        criterion=criterion,
        refresh=Refresh(refresh, every_epochs=0, needs_features=True),
        assign=_best_head,
        companions=companions,
    )


def scan_self_label(
    encoder: nn.Module,
    *,
    clusters: Count = 10,
    heads: Count = 1,
    threshold: Share = 0.99,
    balanced: bool = True,
) -> Method:
    """SCAN's last step: where the first view, weakly augmented, is surely of a cluster, the second learns it.

    It starts from a run of :func:`scan`: `init_from` names it, with `init_networks=('encoder', 'head')`, and `clusters`
    and `heads` must be as there. The second view should be strongly augmented. No gradient passes through the first.

    Args:
      encoder: flax module.
      clusters, heads: as in :func:`scan`. Authors go on with its best head alone; here each has its own labels.
      threshold: least probability, which only larger ones pass. Authors: 0.99.
      balanced: whether clusters weigh the same. Authors: yes.

    State: parameters `head`; each head's running loss.

    References:
      Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320, section 2.3.
    """
    base = _of_two_views(encoder)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = (head_logits(params['head'], z) for z in outputs['embeddings'])
        one = partial(losses.confident_cross_entropy, threshold=threshold, balanced=balanced)
        value = jnp.sum(jax.vmap(one, in_axes=1)(first, second))
        sure = jnp.mean(jnp.max(jax.nn.softmax(first, axis=-1), axis=-1) > threshold)
        return value, (_judged(extra, first, second), {'confident': sure})

    return base._replace(
        init=begun(base, partial(_heads, heads, clusters), lambda dim: {'head_loss': jnp.zeros(heads)}),
        criterion=criterion,
        assign=_best_head,
    )


def _of_two_views(encoder: nn.Module) -> Method:
    base = backbone(encoder)

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    return base._replace(embed=embed)


def _heads(heads: int, clusters: int, key: Array, dim: int) -> dict[str, Array]:
    return linear_heads(key, heads, dim, clusters)


def _judged(extra: Any, first: Array, second: Array) -> dict[str, Any]:
    """The state with each head's running loss moved: SCAN's at λ = 1, by which the authors choose a head."""
    loss = jax.lax.stop_gradient(jax.vmap(partial(losses.scan, entropy_weight=1.0), in_axes=1)(first, second))
    return {
        **extra,
        'head_loss': (MEMORY * extra['head_loss'] + (1.0 - MEMORY) * loss).astype(extra['head_loss'].dtype),
    }


def _best_head(params: Any, extra: Any, outputs: dict) -> Array:
    return head_logits(params['head'], outputs['features'])[:, jnp.argmin(extra['head_loss'])]
