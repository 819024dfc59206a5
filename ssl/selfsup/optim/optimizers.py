"""SGD, AdamW and the LARS flavours of the literature, with parameter groups, as one optax transformation.

Weight decay, trust ratio and learning rate act per leaf, so groups and flavours share one code path.
"""

import math
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


def _trust_apart(trust: Any, *, clip: bool) -> Callable:
    """η‖p‖/(‖g‖ + wd‖p‖ + 1e-8), 1 if either norm is 0: apex's LARC (SwAV).

    With `clip`, min(that/lr, 1): solo-learn's LARS with `clip_lr`.
    """

    def ratio(p: jax.Array, g: jax.Array, decayed: jax.Array, decay: Any, rate: Any) -> jax.Array:
        p_norm, g_norm = _norm(p), _norm(g)
        ok = (p_norm > 0) & (g_norm > 0)
        raw = trust * p_norm / (g_norm + decay * p_norm + 1e-8)
        if clip:
            raw = jnp.minimum(raw / jnp.maximum(rate, 1e-12), 1.0)
        return jnp.where(ok, raw, 1.0)

    return ratio


def _clipped(gradients: Any, limit: float, *, each: bool) -> Any:
    """Gradients whose norm, of the whole tree or of each array, is at most `limit`."""

    def factor(norm: jax.Array) -> jax.Array:
        return jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-12))

    if each:
        return jax.tree.map(lambda g: (g * factor(_norm(g))).astype(g.dtype), gradients)
    whole = factor(global_norm(gradients))
    return jax.tree.map(lambda g: g * whole, gradients)


def _correction(beta: Any, count: jax.Array) -> jax.Array:
    """1 − βᵗ by expm1: the difference loses four digits in float32 at β = 0.999 and t = 1."""
    log = math.log(beta) if isinstance(beta, float) and beta > 0 else jnp.log(beta)
    return -jnp.expm1(count * log)


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
    vector_scale: Any = 1.0,
    clip_norm: float = 0.0,
    clip_each: bool = False,
    groups: dict[str, Group] | None = None,
) -> optax.GradientTransformation:
    """An optax transformation whose updates already carry the learning rate.

    Args:
      name: 'sgd', 'adamw', 'lars' (the papers': the rate outside the momentum), 'lars_clipped'
        (solo-learn's), 'larc' (apex's without clipping, as SwAV has it, with `decay_vectors`) or
        'lars_classic' (SimCLR's TensorFlow code: rate and trust inside the momentum).
      learning_rate: function of the step.
      peak: the learning rate of groups whose schedule is 'constant'.
      weight_decay: coefficient, or a function of the step; decoupled for AdamW, added to the gradient else.
      momentum: of SGD and LARS; AdamW's β1.
      beta2: AdamW's β2.
      trust: η of LARS.
      decay_vectors: whether arrays with one axis (biases, norms) are decayed and, by LARS, rescaled.
      vector_scale: factor on the learning rate of arrays with one axis (Barlow Twins' code: 0.024).
      clip_norm: the gradient's global norm is clipped to this; 0 does not clip.
      clip_each: `clip_norm` limits each array's norm instead of the global one (DINO).
      groups: top-level parameter key -> :class:`Group`.

    References:
      You et al. 2017, https://arxiv.org/abs/1708.03888 (LARS); Loshchilov and Hutter 2019 (AdamW).
    """
    lars = name.startswith('lar')
    apart = name in ('lars_clipped', 'larc')
    ratio = _trust_apart(trust, clip=name == 'lars_clipped') if apart else _trust_papers(trust)
    known = groups or {}

    def group_of(path: tuple) -> Group:
        return known.get(getattr(path[0], 'key', ''), Group())

    def init(params: Any) -> State:
        zeros = jax.tree.map(jnp.zeros_like, params)
        inner = {'first': zeros, 'second': jax.tree.map(jnp.zeros_like, params)} if name == 'adamw' else zeros
        return State(jnp.zeros((), jnp.int32), inner)

    def update(gradients: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        if clip_norm:
            gradients = _clipped(gradients, clip_norm, each=clip_each)
        rate = learning_rate(state.count)
        decay = weight_decay(state.count) if callable(weight_decay) else weight_decay

        def rates(path: tuple, p: jax.Array) -> tuple[Any, Any, Any, bool]:
            group = group_of(path)
            own = group.scale * (peak if group.schedule == 'constant' else rate)
            own = own if p.ndim > 1 else own * vector_scale
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

        def adam(path: tuple, first: jax.Array, second: jax.Array) -> jax.Array:
            count = jnp.maximum(state.count - group_of(path).freeze_steps, 0) + 1
            scale = jnp.sqrt(second / _correction(beta2, count)) + 1e-8
            return first / _correction(momentum, count) / scale

        if name == 'adamw':
            # A frozen array has no gradient, so that its moments and their correction begin when it thaws.
            seen = jax.tree_util.tree_map_with_path(
                lambda path, g: jnp.where(state.count >= group_of(path).freeze_steps, g, 0.0).astype(g.dtype), gradients
            )
            first = jax.tree.map(lambda m, g: momentum * m + (1.0 - momentum) * g, state.inner['first'], seen)
            second = jax.tree.map(lambda v, g: beta2 * v + (1.0 - beta2) * g * g, state.inner['second'], seen)
            inner = {'first': first, 'second': second}
            direction = jax.tree_util.tree_map_with_path(adam, first, second)
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
