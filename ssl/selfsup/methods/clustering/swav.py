"""SwAV (Caron et al. 2020, https://arxiv.org/abs/2006.09882): swapped cluster assignments."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, Domain, Positive, Whole
from ..base import (
    Method,
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
from ..queue import enqueue


def swav(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    prototypes: Count = 3000,
    temperature: Positive = 0.1,
    epsilon: Positive = 0.05,
    iterations: Annotated[int, Domain(int, least=0, most=1000)] = 3,
    assign: Count = 2,
    queue: Whole = 0,
    queue_start: Whole = 0,
    fuse_views: bool = True,
) -> Method:
    """SwAV: every crop predicts the Sinkhorn assignments of the other global crops.

    Order of a step: embeddings of all crops, those of one resolution together; scores against unit
    prototypes; assignments of the first `assign` crops from their own rows and, once it is full, the
    queue; loss; the crops enter the queue; after the optimiser's step prototypes are scaled to length
    1. The authors do that at the start of the next step, which is the same. They also freeze the
    prototypes at first: `optimizer.groups.prototypes.freeze_steps`.

    Args:
      encoder, projector: flax modules. Paper's projector: 2048 (batch-norm), 128.
      prototypes: how many. Paper: 3000.
      temperature: τ of the prediction. Paper: 0.1.
      epsilon, iterations: of :func:`selfsup.losses.sinkhorn`. Paper: 0.05, 3.
      assign: how many of the first views are global crops, which get assignments. Paper: 2.
      queue: earlier embeddings kept for each global crop, a multiple of the global batch; 0 for none.
        Paper: 3840 in all at batch 256.
      queue_start: steps before the queue is filled and, once full, used. Paper: 15 epochs.
      fuse_views: whether views of one resolution share batch-norm statistics. Authors: yes.

    State: with a queue, the queue `[assign, queue, dim]`, its pointer, the rows it has taken in.
    Prototypes are parameters, `[prototypes, dim]`; the method's `assign` asks them.
    """
    modules = heads(encoder, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        dim = embedding_width(modules, params, stats, batch)
        params['prototypes'] = unit(jax.random.normal(jax.random.fold_in(key, 99), (prototypes, dim)))
        extra: dict = {'batch_stats': stats}
        if queue:
            zero = jnp.zeros((), jnp.int32)
            extra.update(queue=jnp.zeros((assign, queue, dim)), pointer=zero, filled=zero)
        return params, extra

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network_outputs(
            modules, params, extra['batch_stats'], batch['views'], train=True, fuse=fuse_views, keys=view_keys(batch)
        )
        return outputs, {**extra, 'batch_stats': stats}

    def push(extra: dict, views: tuple, step: Any) -> dict:
        """The queue after the global crops entered it, if its time has come."""
        rows = [enqueue(old, extra['pointer'], unit(z)) for old, z in zip(extra['queue'], views, strict=True)]
        filled = jnp.minimum(extra['filled'] + views[0].shape[0], queue)
        new = {'queue': jnp.stack([row for row, _ in rows]), 'pointer': rows[0][1], 'filled': filled}
        started = step >= queue_start
        return {**extra, **{name: jnp.where(started, value, extra[name]) for name, value in new.items()}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        first, second = pairs(views)
        held = {'queue': extra['queue'], 'queue_valid': extra['filled'] >= queue} if queue else {}
        value = losses.swav(
            *views,
            prototypes=params['prototypes'],
            assign=assign,
            temperature=temperature,
            epsilon=epsilon,
            iterations=iterations,
            **held,
        )
        if queue:
            extra = push(extra, jax.lax.stop_gradient(views[:assign]), batch['step'])
        return value, (extra, {'positive_cosine': mean_cosine(first, second)})

    def after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
        return {**params, 'prototypes': unit(params['prototypes'])}, extra

    def scored(params: Any, extra: Any, outputs: dict) -> Array:
        return jnp.matmul(unit(outputs['embeddings']), params['prototypes'].T, precision='highest')

    return Method(init, embed, criterion, encode_with(modules), after, assign=scored)
