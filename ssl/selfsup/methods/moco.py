"""MoCo v2 (Chen et al. 2020, https://arxiv.org/abs/2003.04297): a momentum encoder and a queue."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .. import losses, parallel
from .base import Method, encode_with, forward, init_modules, moving_average, over, pairs


def _unit(z: Array) -> Array:
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    return z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def enqueue(queue: Array, pointer: Array, keys: Array) -> tuple[Array, Array]:
    """The queue with `keys` written over its oldest rows, and the pointer to the next oldest."""
    length, rows = queue.shape[0], keys.shape[0]
    if rows > length or length % rows:
        raise ValueError(f'a queue of {length} is not a multiple of the batch of {rows}')
    queue = jax.lax.dynamic_update_slice_in_dim(queue, keys.astype(queue.dtype), pointer, axis=0)
    return queue, (pointer + rows) % length


def moco_v2(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Any = 0.2,
    queue: int = 65536,
    momentum: Any = 0.999,
    groups: int = 8,
    symmetric: bool = False,
    axis_name: str | None = None,
) -> Method:
    """MoCo v2: a query must pick its key from the momentum encoder out of a queue of earlier keys.

    Order of a step, as in the authors' code: query; key from the momentum encoder, no gradient, with
    its own batch statistics; loss against the queue as it was; then the keys enter the queue. The
    authors move the momentum encoder before the key's forward pass of step t; here `after` of step
    t − 1 does it with m(t), which is the same (at step 0 both networks are equal).

    Batch-norm must not let a query recognise its key by the batch they share. It runs in `groups`
    groups (the authors' 8 devices), the query's in order, the key's by a random permutation; `groups`
    counts parts of the global batch, so the result is the same on any number of devices.

    Args:
      encoder, projector: flax modules; the projector has no batch-norm in the paper (2048, 128).
      temperature: τ. Paper: 0.2.
      queue: rows of the queue; the global batch must divide it. Paper: 65536.
      momentum: m of the moving average, a value or a function of the step. Paper: 0.999.
      groups: batch-norm groups of the encoder; 1 switches the protection off.
      symmetric: average both directions, each with a queue of its own, as solo-learn's MoCo v2+.
      axis_name: axis of `pmap` or `shard_map`; see :mod:`selfsup.parallel`.

    State: target parameters and batch statistics, queue `[directions, queue, dim]`, pointer.

    References:
      He et al. 2020, https://arxiv.org/abs/1911.05722, section 3 and algorithm 1.
    """
    encoder, projector = over(axis_name, encoder, projector)
    if hasattr(encoder, 'groups'):
        encoder = encoder.clone(groups=groups)
    modules = {'encoder': encoder, 'projector': projector}
    momentum_at = momentum if callable(momentum) else lambda step: momentum
    directions = 2 if symmetric else 1

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        outputs = encode_with(modules)(params, {'batch_stats': stats}, batch['views'][0][:1])
        rows = jax.random.normal(jax.random.fold_in(key, 99), (directions, queue, outputs['embeddings'].shape[1]))
        return params, {
            'batch_stats': stats,
            'target': jax.tree.map(jnp.copy, {'params': params, 'batch_stats': stats}),
            'queue': _unit(rows),
            'pointer': jnp.zeros((), jnp.int32),
        }

    def run(params: Any, stats: dict, view: Array, key: Any, order: Array | None) -> tuple:
        extra = {} if order is None or not hasattr(encoder, 'groups') else {'order': order}
        features, first = forward(
            encoder, params['encoder'], stats['encoder'], view, train=True, key=key, **extra
        )
        embeddings, second = forward(projector, params['projector'], stats['projector'], features, train=True, key=key)
        return features, _unit(embeddings), {'encoder': first, 'projector': second}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views = pairs(batch['views'])
        stats, target = extra['batch_stats'], extra['target']
        target_stats = target['batch_stats']
        features, queries, keys = [], [], []
        for direction in range(directions):
            ours = jax.random.fold_in(key, direction)
            shuffled = jax.random.permutation(ours, parallel.global_size(views[0].shape[0], axis_name))
            order = parallel.local_rows(shuffled, axis_name)
            feature, query, stats = run(params, stats, views[direction], jax.random.fold_in(ours, 1), None)
            _, positive, target_stats = run(
                jax.lax.stop_gradient(target['params']), target_stats, views[1 - direction],
                jax.random.fold_in(ours, 2), order,
            )
            features.append(feature)
            queries.append(query)
            keys.append(jax.lax.stop_gradient(positive))
        outputs = {'features': tuple(features), 'embeddings': tuple(queries), 'keys': tuple(keys)}
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        total, rows = 0.0, []
        for direction, (query, positive) in enumerate(zip(outputs['embeddings'], outputs['keys'], strict=True)):
            total += losses.info_nce(query, positive, extra['queue'][direction], temperature=temperature)
            new, pointer = enqueue(extra['queue'][direction], extra['pointer'], positive)
            rows.append(new)
        cosine = jnp.mean(jnp.sum(outputs['embeddings'][0] * outputs['keys'][0], axis=-1))
        metrics = {'positive_cosine': jax.lax.stop_gradient(cosine)}
        return total / directions, ({**extra, 'queue': jnp.stack(rows), 'pointer': pointer}, metrics)

    def after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
        target = moving_average(extra['target']['params'], params, momentum_at(step + 1))
        return params, {**extra, 'target': {**extra['target'], 'params': target}}

    method = Method(init, embed, criterion, encode_with(modules), after, queue=queue)
    return parallel.over_axis(method, axis_name)
