"""ESimCSE (Wu et al. 2022, https://arxiv.org/abs/2109.04380): in-batch contrast and a momentum encoder's queue."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, Positive, ScheduledShare
from ..base import Method, embedding_width, heads, mean_cosine, only_two
from ..queue import enqueue
from ..target import predicted_target


def esimcse(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.05,
    queue: Count = 256,
    momentum: ScheduledShare = 0.995,
    fuse_views: bool = True,
) -> Method:
    """ESimCSE without its text: SimCSE's loss of one direction, and negatives from a momentum encoder.

    The views come from the config: for vectors the operation `drop` stands in for the dropout of a language model. Both
    views pass through the trained network; the momentum encoder's embeddings of the first enter the queue after the
    loss. The queue is empty at the start. The authors' momentum encoder runs without dropout and takes the trained
    projector; here it has a projector of its own, as MoCo's.

    Args:
      encoder, projector: flax modules.
      temperature: τ. Authors: 0.05.
      queue: rows of the queue; the global batch must divide it. Authors: 2.5 batches of 64.
      momentum: m of the moving average, a value or a function of the step. Authors: 0.995.
      fuse_views: whether the two views share batch-norm statistics.

    State: target parameters and batch statistics, queue `[queue, dim]`, which of its rows are filled, pointer.

    References:
      Wu et al. 2022, https://arxiv.org/abs/2109.04380, section 3.
    """
    modules = heads(encoder, projector, None)
    base = predicted_target(
        encoder, projector, None, lambda predictions, targets: jnp.zeros(()),
        momentum=momentum, ahead=0, own_start=False, fuse_views=fuse_views,
    )  # fmt: skip

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = embedding_width(modules, params, extra['batch_stats'], batch)
        rows = {
            'queue': jnp.zeros((queue, width)),
            'filled': jnp.zeros(queue, bool),
            'pointer': jnp.zeros((), jnp.int32),
        }
        return params, {**extra, **rows}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = outputs['embeddings']
        value = losses.esimcse(first, second, extra['queue'], queue_valid=extra['filled'], temperature=temperature)
        rows, pointer = enqueue(extra['queue'], extra['pointer'], outputs['targets'][0])
        filled, _ = enqueue(extra['filled'], extra['pointer'], jnp.ones(first.shape[0], bool))
        state = {'queue': rows, 'filled': filled, 'pointer': pointer}
        return value, ({**extra, **state}, {'positive_cosine': mean_cosine(first, second)})

    return base._replace(init=init, embed=embed, criterion=criterion)
