"""SGD, AdamW and the LARS flavours of the literature, with parameter groups, as one optax transformation.

Weight decay, trust ratio and learning rate act per leaf, so groups and flavours share one code path.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .schedules import Schedule


class Group(NamedTuple):
    """How one top-level parameter key departs from the rest.

    Attributes:
      scale: factor on the learning rate.
      schedule: 'base' follows the schedule; 'constant' keeps the peak throughout (SimSiam's predictor).
      decay: factor on the weight decay.
      freeze_steps: for so many steps no update and no decay (SwAV's prototypes).
    """

    scale: Any = 1.0
    schedule: str = 'base'
    decay: Any = 1.0
    freeze_steps: int = 0


class State(NamedTuple):
    count: jax.Array
    inner: Any


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))))


def global_norm(tree: Any) -> jax.Array:
    """‖·‖₂ over all leaves of a tree."""
    return jnp.sqrt(sum(_norm(leaf) ** 2 for leaf in jax.tree.leaves(tree)))


def _trust_papers(trust: Any) -> Callable:
    """η‖p‖/‖g + wd·p‖, 1 if either norm is 0 (Barlow Twins, VICReg, MoCo v3, BYOL)."""

    def ratio(p: jax.Array, g: jax.Array, decayed: jax.Array, decay: Any, rate: Any) -> jax.Array:
        p_norm, norm = _norm(p), _norm(decayed)
        ok = (p_norm > 0) & (norm > 0)
        return jnp.where(ok, trust * p_norm / jnp.where(ok, norm, 1.0), 1.0)

    return ratio


def _trust_clipped(trust: Any) -> Callable:
    """min(η‖p‖/(‖g‖ + wd‖p‖ + 1e-8)/lr, 1): solo-learn's LARS with `clip_lr`."""

    def ratio(p: jax.Array, g: jax.Array, decayed: jax.Array, decay: Any, rate: Any) -> jax.Array:
        p_norm, g_norm = _norm(p), _norm(g)
        ok = (p_norm > 0) & (g_norm > 0)
        raw = trust * p_norm / (g_norm + decay * p_norm + 1e-8)
        return jnp.where(ok, jnp.minimum(raw / jnp.maximum(rate, 1e-12), 1.0), 1.0)

    return ratio


def optimizer(
    name: str,
    learning_rate: Schedule,
    *,
    peak: Any,
    weight_decay: Any | Schedule = 0.0,
    momentum: Any = 0.9,
    beta2: Any = 0.999,
    trust: Any = 1e-3,
    decay_vectors: bool = False,
    clip_norm: float = 0.0,
    groups: dict[str, Group] | None = None,
) -> optax.GradientTransformation:
    """An optax transformation whose updates already carry the learning rate.

    Args:
      name: 'sgd', 'adamw', 'lars' (the papers': the rate outside the momentum), 'lars_clipped'
        (solo-learn's) or 'lars_classic' (SimCLR's TensorFlow code: rate and trust inside the momentum).
      learning_rate: function of the step.
      peak: the learning rate of groups whose schedule is 'constant'.
      weight_decay: coefficient, or a function of the step; decoupled for AdamW, added to the gradient else.
      momentum: of SGD and LARS; AdamW's β1.
      beta2: AdamW's β2.
      trust: η of LARS.
      decay_vectors: whether arrays with one axis (biases, norms) are decayed and, by LARS, rescaled.
      clip_norm: the gradient's global norm is clipped to this; 0 does not clip.
      groups: top-level parameter key -> :class:`Group`.

    References:
      You et al. 2017, https://arxiv.org/abs/1708.03888 (LARS); Loshchilov and Hutter 2019 (AdamW).
    """
    lars = name.startswith('lars')
    ratio = _trust_clipped(trust) if name == 'lars_clipped' else _trust_papers(trust)
    adam = optax.scale_by_adam(b1=momentum, b2=beta2)
    known = groups or {}

    def group_of(path: tuple) -> Group:
        return known.get(getattr(path[0], 'key', ''), Group())

    def init(params: Any) -> State:
        inner = adam.init(params) if name == 'adamw' else jax.tree.map(jnp.zeros_like, params)
        return State(jnp.zeros((), jnp.int32), inner)

    def update(gradients: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        if clip_norm:
            factor = jnp.minimum(1.0, clip_norm / jnp.maximum(global_norm(gradients), 1e-12))
            gradients = jax.tree.map(lambda g: g * factor, gradients)
        rate = learning_rate(state.count)
        decay = weight_decay(state.count) if callable(weight_decay) else weight_decay

        def rates(path: tuple, p: jax.Array) -> tuple[Any, Any, Any, bool]:
            group = group_of(path)
            own = group.scale * (peak if group.schedule == 'constant' else rate)
            matrix = p.ndim > 1 or decay_vectors
            return own, decay * group.decay if matrix else 0.0, state.count >= group.freeze_steps, matrix

        def decayed(path: tuple, p: jax.Array, g: jax.Array) -> jax.Array:
            own, wd, active, matrix = rates(path, p)
            d = g + wd * p
            if lars and matrix:
                d = d * ratio(p, g, d, wd, own)
            if name == 'lars_classic':
                d = d * own
            return jnp.where(active, d, 0.0).astype(g.dtype)

        if name == 'adamw':
            direction, inner = adam.update(gradients, state.inner, params)
        else:
            direction = jax.tree_util.tree_map_with_path(decayed, params, gradients)
            inner = jax.tree.map(lambda v, d: momentum * v + d, state.inner, direction)
            direction = inner

        def step(path: tuple, p: jax.Array, d: jax.Array) -> jax.Array:
            own, wd, active, _ = rates(path, p)
            if name == 'adamw':
                d = d + wd * p
            moved = -d if name == 'lars_classic' else -own * d
            return jnp.where(active, moved, 0.0).astype(p.dtype)

        updates = jax.tree_util.tree_map_with_path(step, params, direction)
        return updates, State(state.count + 1, inner)

    transform: Any = optax.GradientTransformation
    return transform(init, update)
