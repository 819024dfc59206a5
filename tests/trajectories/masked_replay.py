"""Our run of a masked case: the config's method and optimiser in the training step of every run, masks given."""

import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import config
from selfsup.augment import masking
from selfsup.engine import build
from selfsup.engine.step import init_state, make_step
from trajectories import masked_problem as problem
from trajectories import problem as arrays
from trajectories.replay import filled, flat, table


def configured(name: str) -> config.ConfigDict:
    """The resolved, validated config of a case."""
    c = config.defaults()
    c.method.name = name
    c.augment.recipe = 'digits_masked'  # for the validation alone: the views are fixed
    c.checkpoint.best = 'rankme_features'
    given = [f'{k}={v if isinstance(v, str) else repr(v)}' for k, v in problem.fields(name).items()]
    return config.with_overrides(c, given)


def started(state, dtype):
    """The training state with the case's initial weights, the target's among them."""
    values = arrays.initial({k: v.shape for k, v in flat(state.params).items()})
    values = {k.removeprefix('params/'): v for k, v in problem.without_key_bias(values).items()}
    params, extra = filled(state.params, values), dict(state.extra)
    if 'target' in extra:
        extra['target'] = {**extra['target'], 'params': {'encoder': jax.tree.map(jnp.copy, params['encoder'])}}
    state = state.replace(params=params, extra=extra)
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state)


SAMPLERS = {'ijepa': 'multi_block', 'data2vec': 'block', 'mae': 'random', 'data2vec2': 'inverse_block'}


def masks(name: str, step: int):
    """What a sampler of masks gives in this case."""
    if name == 'data2vec':
        return jnp.asarray(problem.hidden(step))
    if name == 'mae':
        return tuple(jnp.asarray(x) for x in problem.random(step))
    if name == 'data2vec2':
        hidden = problem.several(step)
        return jnp.asarray(hidden.argsort(axis=1, kind='stable')[:, : problem.SHOWN]), jnp.asarray(hidden)
    context, targets = (jnp.asarray(x) for x in problem.blocks(step))
    everything = (jnp.ones(x.shape, bool) for x in (context, targets))
    return masking.MultiBlock(context, next(everything), targets, next(everything))


def run(name: str, dtype=np.float32, changes: dict | None = None) -> dict[str, np.ndarray]:
    """Loss and learning rate of each step, and all arrays of the final state by their paths.

    `changes` replace config fields, for showing that a fault is caught.
    """
    c = configured(name)
    for field, value in (changes or {}).items():
        group, leaf = field.split('.')
        with c.unlocked():
            c[group][leaf] = value
    method = build.build_method(c, steps=problem.STEPS)
    optimizer, rate = build.build_optimizer(c, epoch_steps=problem.STEPS // c.train.epochs)
    given: dict = {}  # the masks of the step that is being traced

    def views(key, inputs, positions, sources):
        given['masks'] = inputs[1]
        return (inputs[0],), ({},)

    step = jax.jit(make_step(method, optimizer, rate, views, probe_rate=1e-3, view_count=1))
    index = jnp.arange(problem.BATCH)
    first = {'views': (jnp.asarray(problem.images(0)),), 'index': index}
    state = started(init_state(method, optimizer, first, seed=0, classes=1), dtype)
    found: dict = {'loss': [], 'learning_rate': []}
    with mock.patch.object(masking, SAMPLERS[name], lambda *_, **__: given['masks']):
        for number in range(problem.STEPS):
            inputs = (jnp.asarray(problem.images(number), dtype), masks(name, number))
            state, metrics = step(state, {'input': inputs, 'label': jnp.zeros_like(index), 'index': index}, 0)
            for key, values in found.items():
                values.append(metrics[key])
    final = {**flat({'params': state.params}), **flat(dict(state.extra))}
    found = {k: np.asarray(v, np.float64) for k, v in found.items()}
    return {**found, **problem.without_key_bias({k: np.asarray(v) for k, v in final.items()})}


if __name__ == '__main__':
    table(sys.argv[1:] or list(problem.CASES), run)
