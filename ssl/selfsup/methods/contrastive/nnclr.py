"""NNCLR (Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548): positives are neighbours of the other view."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, Positive
from ..base import Method, mean_cosine, pairs, towards, unit
from ..queue import enqueue, random_queue
from ..siamese import siamese


def nnclr(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    temperature: Positive = 0.1,
    queue: Count = 98304,
    fuse_views: bool = False,
) -> Method:
    """NNCLR: the queue's nearest neighbour of one view must pick the other view's prediction out of the batch.

    Order of a step: both views through the network; neighbours in the queue as it was, without
    gradient; ½ of each direction's loss; then the first view's unit embeddings enter the queue.

    Args:
      encoder, projector: flax modules. Paper: 2048, 2048, 256, batch-norm after all (`last_norm='affine'`).
      predictor: flax module. Paper: 4096 (batch-norm), 256. With None the embeddings take its place.
      temperature: τ. Paper: 0.1; solo-learn on CIFAR: 0.2.
      queue: rows of the queue; the global batch must divide it. Paper: 98304; solo-learn: 65536.
      fuse_views: whether the two views share batch-norm statistics.

    State: queue `[queue, dim]` of random directions at first, pointer.

    References:
      Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, section 3.2 and algorithm 1.
    """

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings'].shape[1]
        rows = random_queue(jax.random.fold_in(key, 99), (queue, width))
        return params, {**extra, 'queue': rows, 'pointer': jnp.zeros((), jnp.int32)}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        def compare(p: Array, z: Array) -> Array:
            return losses.nnclr(p, z, extra['queue'], temperature=temperature)

        z1, z2 = pairs(outputs['embeddings'])
        value = towards(compare, outputs.get('predictions', outputs['embeddings']), (z1, z2)) / 2
        rows, pointer = enqueue(extra['queue'], extra['pointer'], jax.lax.stop_gradient(unit(z1)))
        metrics = {'positive_cosine': mean_cosine(z1, z2)}
        return value, ({**extra, 'queue': rows, 'pointer': pointer}, metrics)

    base = siamese(encoder, projector, criterion, predictor=predictor, fuse_views=fuse_views)
    return base._replace(init=init)
