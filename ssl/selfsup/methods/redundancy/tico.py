"""TiCo (Zhu et al. 2022, https://arxiv.org/abs/2206.10698): a momentum encoder and a moving covariance."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import NonNegative, ScheduledShare, Share
from ..base import (
    Method,
    embedding_width,
    encode_with,
    heads,
    init_modules,
    mean_cosine,
    network_outputs,
    only_two,
    view_keys,
)
from ..target import copied, follow


def tico(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    beta: Share = 0.9,
    rho: NonNegative = 20.0,
    momentum: ScheduledShare = 0.99,
    stop_moment: bool = False,
) -> Method:
    """TiCo: the first view's embedding agrees with the momentum network's of the second, and avoids a covariance.

    Order of a step: both embeddings; the covariance takes in the batch; the loss uses it. The momentum
    network runs in training mode with batch statistics of its own, gets no gradient, and moves after
    the optimiser's step.

    Args:
      encoder, projector: flax modules. Paper's projector: 4096 (batch-norm), 256.
      beta, rho: of :func:`selfsup.losses.tico`. Paper: 0.9, and 20 (8 at 1000 epochs).
      momentum: m of the moving average, a value or a function of the step. Paper: 0.99 to 1.
      stop_moment: no gradient through the covariance's new part, of :func:`selfsup.losses.tico`. Paper: False;
        lightly: True.

    State: target parameters and batch statistics, covariance `[dim, dim]`.

    References:
      Zhu et al. 2022, https://arxiv.org/abs/2206.10698, algorithm 1.
    """
    modules = heads(encoder, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        dim = embedding_width(modules, params, stats, batch)
        return params, {'batch_stats': stats, 'target': copied(params, stats), 'covariance': jnp.zeros((dim, dim))}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        (first, second), target = only_two(batch['views']), extra['target']
        outputs, stats = network_outputs(
            modules, params, extra['batch_stats'], (first,), train=True, fuse=False, keys=view_keys(batch, 0)
        )
        theirs, target_stats = network_outputs(
            modules, jax.lax.stop_gradient(target['params']), target['batch_stats'], (second,),
            train=True, fuse=False, keys=view_keys(batch, 1),
        )  # fmt: skip
        outputs['targets'] = jax.lax.stop_gradient(theirs['embeddings'])
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        (query,), (target,) = outputs['embeddings'], outputs['targets']
        value, covariance = losses.tico(query, target, extra['covariance'], beta=beta, rho=rho, stop_moment=stop_moment)
        covariance = covariance.astype(extra['covariance'].dtype)
        return value, ({**extra, 'covariance': covariance}, {'positive_cosine': mean_cosine(query, target)})

    return Method(init, embed, criterion, encode_with(modules), follow(momentum))
