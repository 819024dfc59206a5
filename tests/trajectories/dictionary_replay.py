"""Our run of a sparse autoencoder's case: the config's method and optimiser in the training step of every run."""

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import config, dictionaries
from selfsup.engine import build
from selfsup.engine.step import init_state, make_step
from trajectories import dictionary_problem as problem
from trajectories.replay import filled, flat


def configured(name: str) -> config.ConfigDict:
    """The resolved, validated config of a case."""
    c = config.defaults()
    c.method.name = name
    c.augment.recipe = ''
    c.augment.views = {'row': {'count': 1}}
    c.checkpoint.best = 'rankme'
    given = [f'{k}={v if isinstance(v, str) else repr(v)}' for k, v in problem.fields(name).items()]
    return config.with_overrides(c, given)


def run(name: str, dtype=np.float32, changes: dict | None = None) -> dict[str, np.ndarray]:
    """Loss and learning rate of each step, and the final parameters, threshold and factor by their paths.

    `changes` replace config fields, for showing that a fault is caught.
    """
    c = configured(name)
    for field, value in (changes or {}).items():
        group, leaf = field.split('.')
        with c.unlocked():
            c[group][leaf] = value
    method = build.build_method(c, steps=problem.STEPS)
    optimizer, rate = build.build_optimizer(c, epoch_steps=problem.STEPS // c.train.epochs)
    step = jax.jit(make_step(method, optimizer, rate, lambda key, x, *_: ((x,), ({},)), probe_rate=1e-3, view_count=1))
    index = jnp.arange(problem.BATCH)
    first = {'views': (jnp.asarray(problem.rows(0)),), 'index': index}
    state = init_state(method, optimizer, first, seed=0, classes=1)
    values = problem.initial(name)
    if name in ('topk', 'batch_topk'):  # the authors' loop has the median of its first batch
        values['dictionary/centre'] = np.asarray(dictionaries.geometric_median(problem.rows(0)))
    extra = dict(state.extra)
    if name == 'archetypal':
        extra['points'] = jnp.asarray(problem.points())
    if 'threshold' in extra:
        extra['threshold'] = jnp.zeros(())
    state = state.replace(params=filled(state.params, values), extra=extra)
    state = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state)
    found: dict = {'loss': [], 'learning_rate': []}
    for number in range(problem.STEPS):
        inputs = jnp.asarray(problem.rows(number), dtype)
        state, metrics = step(state, {'input': inputs, 'label': jnp.zeros_like(index), 'index': index}, 0)
        for key, series in found.items():
            series.append(metrics[key])
    kept = {'params': state.params, **{k: state.extra[k] for k in ('threshold', 'factor') if k in state.extra}}
    return {
        **{k: np.asarray(v, np.float64) for k, v in found.items()},
        **{k: np.asarray(v) for k, v in flat(kept).items()},
    }
