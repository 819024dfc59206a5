"""EMA target networks: what BYOL, MoCo, DINO and TiCo share."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .base import (
    Method,
    encode_with,
    heads,
    init_modules,
    mean_cosine,
    moving_average,
    network_outputs,
    pairs,
    view_keys,
)


def follow(momentum: Any, *, ahead: int = 0) -> Callable:
    """The `after` that moves `extra['target']` towards the parameters, θ̄ ← m·θ̄ + (1 − m)·θ.

    Args:
      momentum: m, a value or a function of the step.
      ahead: 0 where the authors move the target at the end of step t, with m(t) (BYOL); 1 where they
        move it at the start of step t, before the target's forward pass (MoCo): `after` of step t − 1
        then does it with m(t), which is the same, since at step 0 both networks are equal.

    Only parameters are averaged: the target keeps batch statistics of its own.
    """
    momentum_at = momentum if callable(momentum) else lambda step: momentum

    def after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
        target = extra['target']
        moved = moving_average(target['params'], {k: params[k] for k in target['params']}, momentum_at(step + ahead))
        return params, {**extra, 'target': {**target, 'params': moved}}

    return after


def copied(params: Any, stats: Any, names: tuple[str, ...] = ('encoder', 'projector')) -> dict:
    """A target that starts equal to the trained encoder and projector, or to those networks of `names`."""
    return jax.tree.map(
        jnp.copy, {'params': {k: params[k] for k in names}, 'batch_stats': {k: stats[k] for k in names}}
    )


def predicted_target(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    loss: Callable[[tuple, tuple], tuple],
    *,
    momentum: Any,
    ahead: int,
    own_start: bool,
    fuse_views: bool,
    split_views: bool = False,
    headless: bool = False,
    shown: Callable[[tuple, dict], tuple] | None = None,
) -> Method:
    """A method that predicts an EMA target network's projection of the other view (BYOL, MoCo v3).

    Args:
      encoder, projector, predictor: flax modules; the target has the first two. Without a predictor
        the embeddings take the predictions' place.
      loss: `(predictions, targets) -> scalar`, an array a view and one for each of the first two, the
        global views, which alone the target network sees; no gradient enters the targets.
      momentum, ahead: as in :func:`follow`.
      own_start: whether the target is initialised with a key of its own, or as a copy.
      fuse_views: whether views of one resolution share batch-norm statistics.
      split_views: whether the target network sees the first view alone, and the trained network the others.
      headless: the target has no projector, and its features are what is predicted (UNSEE).
      shown: `(views, batch) -> views`, what the trained network sees of its views, such as masked images; None for all.
    """
    modules = heads(encoder, projector, predictor)
    target_modules = {'encoder': encoder} if headless else heads(encoder, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        target = copied(params, stats, tuple(target_modules))
        if own_start:
            own = init_modules(jax.random.fold_in(key, 99), target_modules, batch['views'][0])
            target = dict(zip(('params', 'batch_stats'), own, strict=True))
        return params, {'batch_stats': stats, 'target': target}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views, target = batch['views'], extra['target']
        own, others = (views[1:], views[:1]) if split_views else (views, pairs(views))
        own = own if shown is None else shown(own, batch)
        run = {'train': True, 'fuse': fuse_views}
        outputs, stats = network_outputs(modules, params, extra['batch_stats'], own, keys=view_keys(batch, 0), **run)
        theirs, target_stats = network_outputs(
            target_modules, jax.lax.stop_gradient(target['params']), target['batch_stats'],
            others, keys=view_keys(batch, 1), **run,
        )  # fmt: skip
        outputs['targets'] = jax.lax.stop_gradient(theirs['features' if headless else 'embeddings'])
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets = outputs.get('predictions', outputs['embeddings']), outputs['targets']
        metrics = {'positive_cosine': mean_cosine(predictions[0], targets[-1])}
        return loss(predictions, targets), (extra, metrics)

    return Method(init, embed, criterion, encode_with(modules), follow(momentum, ahead=ahead))
