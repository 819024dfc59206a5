"""SGD, AdamW and the LARS flavours of the literature, with parameter groups, as one optax transformation.

An optimiser is a function of its keywords and a row of `OPTIMIZERS`: it gives an optax transformation whose `update`
is also told, of each array, the numbers of this step (:class:`Now`). Clipping, schedules, parameter groups and freezing
are those of all optimisers and stand in :func:`optimizer`.

The parts are not chained from optax's: its Adam corrects the bias by 1 - beta**t, which loses four digits in float32,
its `partition` and `chain` nest the state by group and by part, where checkpoints hold one tree like the parameters.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..signature import Domain, NonNegative, Positive, ProperShare, Whole
from .schedules import Schedule


class Group(NamedTuple):
    """How one top-level parameter key departs from the rest.

    Attributes:
      scale: factor on the learning rate.
      schedule: 'base' follows the schedule; 'constant' keeps the peak throughout (SimSiam's predictor).
      decay: factor on the weight decay.
      freeze_steps: for so many steps no update and no decay (SwAV's prototypes).
    """

    scale: NonNegative = 1.0
    schedule: Annotated[str, Domain(str, choices=('base', 'constant'))] = 'base'
    decay: NonNegative = 1.0
    freeze_steps: Whole = 0


class State(NamedTuple):
    """Steps done, and what the optimiser keeps: trees like the parameters."""

    count: jax.Array
    inner: Any


@dataclasses.dataclass(frozen=True)  # no pytree: trees of it map beside trees of arrays
class Now:
    """The numbers of one array in one step.

    Attributes:
      rate: learning rate.
      decay: weight decay; 0 for arrays that are not decayed.
      active: False while it is frozen.
      age: steps since it was last frozen, from 1.
      matrix: whether it is decayed and, by LARS, rescaled.
    """

    rate: Any
    decay: Any
    active: Any
    age: Any
    matrix: bool


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))))


def global_norm(tree: Any) -> jax.Array:
    """‖·‖₂ over all leaves of a tree.

    Vectors are joined first: one by one their sums would be a chain of tiny kernels, in which an accelerator would also
    take the updates of these vectors.
    """
    leaves = jax.tree.leaves(tree)
    vectors = [leaf.reshape(-1) for leaf in leaves if leaf.ndim < 2]
    parts = [leaf for leaf in leaves if leaf.ndim > 1] + ([jnp.concatenate(vectors)] if vectors else [])
    return jnp.sqrt(sum(_norm(part) ** 2 for part in parts))


def _trust_papers(trust: Any, p: jax.Array, decayed: jax.Array) -> jax.Array:
    """η‖p‖/‖g + wd·p‖, 1 if either norm is 0 (Barlow Twins, VICReg, MoCo v3, BYOL)."""
    p_norm, norm = _norm(p), _norm(decayed)
    ok = (p_norm > 0) & (norm > 0)
    return jnp.where(ok, trust * p_norm / jnp.where(ok, norm, 1.0), 1.0)


def _trust_apart(trust: Any, p: jax.Array, g: jax.Array, now: Now, *, clip: bool) -> jax.Array:
    """η‖p‖/(‖g‖ + wd‖p‖ + 1e-8), 1 if either norm is 0; with `clip`, min(that/lr, 1)."""
    p_norm, g_norm = _norm(p), _norm(g)
    ok = (p_norm > 0) & (g_norm > 0)
    raw = trust * p_norm / (g_norm + now.decay * p_norm + 1e-8)
    if clip:
        raw = jnp.minimum(raw / jnp.maximum(now.rate, 1e-12), 1.0)
    return jnp.where(ok, raw, 1.0)


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


def _heavy_ball(
    momentum: Any, direction: Callable[[jax.Array, jax.Array, Now], jax.Array], *, rate_inside: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Momentum v ← momentum·v + direction, step −rate·v; with `rate_inside`, which `direction` then holds, step −v."""

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    def update(gradients: Any, state: Any, params: Any = None, *, now: Any, **_: Any) -> tuple[Any, Any]:
        def moved(p: jax.Array, g: jax.Array, now: Now) -> jax.Array:
            return jnp.where(now.active, direction(p, g, now), 0.0).astype(g.dtype)

        directions = jax.tree.map(moved, params, gradients, now)
        state = jax.tree.map(lambda v, d: momentum * v + d, state, directions)
        return jax.tree.map(lambda v, now: -v if rate_inside else -now.rate * v, state, now), state

    transform: Any = optax.GradientTransformationExtraArgs
    return transform(init, update)


def sgd(*, momentum: ProperShare = 0.9) -> optax.GradientTransformationExtraArgs:
    """Heavy-ball SGD as torch has it: weight decay is added to the gradient."""
    return _heavy_ball(momentum, lambda p, g, now: g + now.decay * p)


def adamw(*, momentum: ProperShare = 0.9, beta2: ProperShare = 0.999) -> optax.GradientTransformationExtraArgs:
    """AdamW, `momentum` is β1; ε = 1e-8 (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2)."""

    def init(params: Any) -> Any:
        return {name: jax.tree.map(jnp.zeros_like, params) for name in ('first', 'second')}

    def update(gradients: Any, state: Any, params: Any = None, *, now: Any, **_: Any) -> tuple[Any, Any]:
        # A frozen array has no gradient, so that its moments and their correction begin when it thaws.
        seen = jax.tree.map(lambda g, now: jnp.where(now.active, g, 0.0).astype(g.dtype), gradients, now)
        first = jax.tree.map(lambda m, g: momentum * m + (1.0 - momentum) * g, state['first'], seen)
        second = jax.tree.map(lambda v, g: beta2 * v + (1.0 - beta2) * g * g, state['second'], seen)

        def step(p: jax.Array, first: jax.Array, second: jax.Array, now: Now) -> jax.Array:
            scale = jnp.sqrt(second / _correction(beta2, now.age)) + 1e-8
            return -now.rate * (first / _correction(momentum, now.age) / scale + now.decay * p)

        return jax.tree.map(step, params, first, second, now), {'first': first, 'second': second}

    transform: Any = optax.GradientTransformationExtraArgs
    return transform(init, update)


def lars(*, momentum: ProperShare = 0.9, trust: Positive = 1e-3) -> optax.GradientTransformationExtraArgs:
    """LARS as the papers' code has it: `trust` is η, the rate stands outside the momentum.

    References:
      You et al. 2017, https://arxiv.org/abs/1708.03888; Barlow Twins', VICReg's and MoCo v3's code.
    """
    return _heavy_ball(momentum, lambda p, g, now: _rescaled(trust, p, g, now))


def lars_classic(*, momentum: ProperShare = 0.9, trust: Positive = 1e-3) -> optax.GradientTransformationExtraArgs:
    """LARS as SimCLR's TensorFlow code has it: rate and trust ratio inside the momentum."""
    return _heavy_ball(momentum, lambda p, g, now: _rescaled(trust, p, g, now) * now.rate, rate_inside=True)


def _rescaled(trust: Any, p: jax.Array, g: jax.Array, now: Now) -> jax.Array:
    """The decayed gradient g + wd·p, times the papers' trust ratio."""
    d = g + now.decay * p
    return d * _trust_papers(trust, p, d) if now.matrix else d


def larc(*, momentum: ProperShare = 0.9, trust: Positive = 1e-3) -> optax.GradientTransformationExtraArgs:
    """The LARC of apex without clipping, as SwAV has it (with `decay_vectors`)."""
    return _heavy_ball(momentum, lambda p, g, now: _rescaled_apart(trust, p, g, now, clip=False))


def lars_clipped(*, momentum: ProperShare = 0.9, trust: Positive = 1e-3) -> optax.GradientTransformationExtraArgs:
    """solo-learn's LARS with `clip_lr`: the trust ratio over the rate is at most 1."""
    return _heavy_ball(momentum, lambda p, g, now: _rescaled_apart(trust, p, g, now, clip=True))


def _rescaled_apart(trust: Any, p: jax.Array, g: jax.Array, now: Now, *, clip: bool) -> jax.Array:
    """The decayed gradient g + wd·p, times the trust ratio whose denominator has the two norms apart."""
    d = g + now.decay * p
    return d * _trust_apart(trust, p, g, now, clip=clip) if now.matrix else d


# config.optimizer.name -> function of its keywords; adding an optimiser is a function and a row.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformationExtraArgs]] = {
    'sgd': sgd,
    'adamw': adamw,
    'lars': lars,
    'lars_clipped': lars_clipped,
    'larc': larc,
    'lars_classic': lars_classic,
}


def optimizer(
    name: str,
    learning_rate: Schedule,
    *,
    peak: Any,
    weight_decay: NonNegative = 0.0,
    decay_vectors: bool = False,
    vector_scale: NonNegative = 1.0,
    clip_norm: NonNegative = 0.0,
    clip_each: bool = False,
    groups: dict[str, Group] | None = None,
    **keywords: Any,
) -> optax.GradientTransformation:
    """An optax transformation whose updates already carry the learning rate.

    Args:
      name: a row of `OPTIMIZERS`.
      learning_rate: function of the step.
      peak: the learning rate of groups whose schedule is 'constant'.
      weight_decay: coefficient, or a function of the step; decoupled for AdamW, added to the gradient else.
      decay_vectors: whether arrays with one axis (biases, norms) are decayed and, by LARS, rescaled.
      vector_scale: factor on the learning rate of arrays with one axis (Barlow Twins' code: 0.024).
      clip_norm: the gradient's global norm is clipped to this; 0 does not clip.
      clip_each: `clip_norm` limits each array's norm instead of the global one (DINO).
      groups: top-level parameter key -> :class:`Group`.
      keywords: the row's own: momentum, trust, ...

    Raises:
      KeyError: for an unknown name; TypeError for a keyword that the row does not take.
    """
    rule = OPTIMIZERS[name](**keywords)
    known = groups or {}

    def init(params: Any) -> State:
        return State(jnp.zeros((), jnp.int32), rule.init(params))

    def update(gradients: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        if clip_norm:
            gradients = _clipped(gradients, clip_norm, each=clip_each)
        rate = learning_rate(state.count)
        decay = weight_decay(state.count) if callable(weight_decay) else weight_decay

        def numbers(path: tuple, p: jax.Array) -> Now:
            group = known.get(getattr(path[0], 'key', ''), Group())
            own = group.scale * (peak if group.schedule == 'constant' else rate)
            matrix = p.ndim > 1 or decay_vectors
            return Now(
                rate=own if p.ndim > 1 else own * vector_scale,
                decay=decay * group.decay if matrix else 0.0,
                active=state.count >= group.freeze_steps,
                age=jnp.maximum(state.count - group.freeze_steps, 0) + 1,
                matrix=matrix,
            )

        now = jax.tree_util.tree_map_with_path(numbers, params)
        steps, inner = rule.update(gradients, state.inner, params, now=now)
        updates = jax.tree.map(lambda p, d, now: jnp.where(now.active, d, 0.0).astype(p.dtype), params, steps, now)
        return updates, State(state.count + 1, inner)

    transform: Any = optax.GradientTransformation
    return transform(init, update)
