"""First-in-first-out queues of earlier embeddings, and the methods that compare a query with one of keys."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .base import (
    Method,
    embedding_width,
    encode_with,
    heads,
    init_modules,
    mean_cosine,
    network_outputs,
    only_two,
    pairs,
    towards,
    unit,
    view_keys,
)
from .over_axis import global_size, local_rows
from .siamese import siamese
from .target import copied, follow


def random_queue(key: Array, shape: tuple[int, ...]) -> Array:
    """A queue of random directions, `[…, length, dim]`."""
    return unit(jax.random.normal(key, shape))


def enqueue(queue: Array, pointer: Array, keys: Array) -> tuple[Array, Array]:
    """The queue with `keys` written over its oldest rows, and the pointer to the next oldest."""
    length, rows = queue.shape[0], keys.shape[0]
    if rows > length or length % rows:
        raise ValueError(f'a queue of {length} is not a multiple of the batch of {rows}')
    queue = jax.lax.dynamic_update_slice_in_dim(queue, keys.astype(queue.dtype), pointer, axis=0)
    return queue, (pointer + rows) % length


def begun_with_queue(base: Method, queue: int) -> Callable:
    """The `init` of `base` with a queue of random directions, as wide as its embeddings, and a pointer."""

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings'].shape[1]
        rows = random_queue(jax.random.fold_in(key, 99), (queue, width))
        return params, {**extra, 'queue': rows, 'pointer': jnp.zeros((), jnp.int32)}

    return init


def of_neighbours(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    compare: Callable[[Array, Array, Array], Array],
    *,
    queue: int,
    fuse_views: bool,
) -> Method:
    """A method whose predictions meet neighbours of the other view's embedding in a queue (NNCLR, NNSiam).

    Order of a step: both views through the network; `compare` against the queue as it was, ½ of each direction; then
    the first view's unit embeddings enter the queue.

    Args:
      encoder, projector, predictor: flax modules. Without a predictor the embeddings take the predictions' place.
      compare: `(prediction, embedding of the other view, queue) -> scalar`.
      queue: rows of the queue; the global batch must divide it.
      fuse_views: whether the two views share batch-norm statistics.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        z1, z2 = pairs(outputs['embeddings'])
        predictions = outputs.get('predictions', outputs['embeddings'])
        value = towards(lambda p, z: compare(p, z, extra['queue']), predictions, (z1, z2)) / 2
        rows, pointer = enqueue(extra['queue'], extra['pointer'], jax.lax.stop_gradient(unit(z1)))
        return value, ({**extra, 'queue': rows, 'pointer': pointer}, {'positive_cosine': mean_cosine(z1, z2)})

    base = siamese(encoder, projector, criterion, predictor=predictor, fuse_views=fuse_views)
    return base._replace(init=begun_with_queue(base, queue))


def against_queue(
    encoder: nn.Module,
    projector: nn.Module,
    loss: Callable[..., Array],
    *,
    queue: int,
    momentum: Any,
    groups: int,
    symmetric: bool,
    draws: bool = False,
) -> Method:
    """A method that compares queries with a queue of a momentum network's keys (MoCo v1 and v2, ReSSL).

    Order of a step, as in MoCo's code: query; key from the momentum encoder, no gradient, with its own
    batch statistics; loss against the queue as it was; then the keys enter the queue. The momentum
    encoder moves before the key's forward pass (:func:`follow`, `ahead=1`).

    Args:
      encoder, projector: flax modules.
      loss: `(query, key, queue) -> scalar`.
      queue: rows of the queue; the global batch must divide it.
      momentum: m of the moving average, a value or a function of the step.
      groups: batch-norm groups of the encoder, the key's by a random permutation; 1 for none.
      symmetric: average both directions, each with a queue of its own; else the first view asks.
      draws: whether the loss also takes `random`, a key of the step, and `step`.
    """
    axis_name = getattr(encoder, 'axis_name', None)  # set by `over_axis`
    grouped = hasattr(encoder, 'groups')
    encoder = encoder.clone(groups=groups) if grouped else encoder
    modules = heads(encoder, projector, None)
    directions = 2 if symmetric else 1

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        shape = (directions, queue, embedding_width(modules, params, stats, batch))
        return params, {
            'batch_stats': stats,
            'target': copied(params, stats),
            'queue': random_queue(jax.random.fold_in(key, 99), shape),
            'pointer': jnp.zeros((), jnp.int32),
        }

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views, target = only_two(batch['views']), extra['target']
        stats, target_stats = extra['batch_stats'], target['batch_stats']
        outputs: dict = {'features': (), 'embeddings': (), 'keys': ()}
        for direction in range(directions):
            ours = jax.random.fold_in(key, direction)
            shuffled = jax.random.permutation(ours, global_size(views[0].shape[0], axis_name))
            order = local_rows(shuffled, axis_name) if grouped else None
            asked, stats = network_outputs(
                modules,
                params,
                stats,
                (views[direction],),
                train=True,
                fuse=False,
                keys=view_keys(batch, 2 * direction),
            )  # fmt: skip
            answer, target_stats = network_outputs(
                modules, jax.lax.stop_gradient(target['params']), target_stats, (views[1 - direction],),
                train=True, fuse=False, keys=view_keys(batch, 2 * direction + 1), order=order,
            )  # fmt: skip
            outputs['features'] += asked['features']
            outputs['embeddings'] += (unit(asked['embeddings'][0]),)
            outputs['keys'] += (jax.lax.stop_gradient(unit(answer['embeddings'][0])),)
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        total, rows = 0.0, []
        for direction, (query, positive) in enumerate(zip(outputs['embeddings'], outputs['keys'], strict=True)):
            more = {'random': jax.random.fold_in(key, direction), 'step': batch['step']} if draws else {}
            total += loss(query, positive, extra['queue'][direction], **more)
            new, pointer = enqueue(extra['queue'][direction], extra['pointer'], positive)
            rows.append(new)
        metrics = {'positive_cosine': mean_cosine(outputs['embeddings'][0], outputs['keys'][0])}
        return total / directions, ({**extra, 'queue': jnp.stack(rows), 'pointer': pointer}, metrics)

    return Method(init, embed, criterion, encode_with(modules), follow(momentum, ahead=1))
