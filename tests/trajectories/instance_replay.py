"""Our run of a case of methods with a row for each example, in the training step of every run."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import config
from selfsup.engine import build
from selfsup.engine.gradient import CRITERION
from selfsup.engine.step import init_state, make_step
from trajectories import instance_problem as problem
from trajectories import problem as arrays
from trajectories.replay import filled, flat, table


def configured(name: str) -> config.ConfigDict:
    """The resolved, validated config of a case."""
    c = config.defaults()
    c.method.name = problem.method(name)
    c.model.name = 'resnet18'
    c.augment.recipe = 'digits_masked'  # for the validation alone: the views are fixed
    c.checkpoint.best = 'rankme_features'
    fields = {k: v for k, v in problem.CASES[name].items() if k != 'method.name'}
    return config.with_overrides(c, [f'{k}={v if isinstance(v, str) else repr(v)}' for k, v in fields.items()])


def with_rows(tree: dict, rows: dict) -> dict:
    """`per_example` arrays with the first rows replaced; the rest is padding."""
    return {k: v.at[: problem.DATA].set(jnp.asarray(rows[k], v.dtype)) for k, v in tree.items()}


def started(state, dtype):
    """The training state with the case's initial weights, memory and head."""
    params, extra = dict(state.params), dict(state.extra)
    own = {k: v for k, v in params.items() if k != 'per_example'}
    params |= filled(own, arrays.initial({k: v.shape for k, v in flat(own).items()}))
    for tree in (params, extra):
        if 'per_example' in tree:
            held = tree['per_example']
            shapes = {f'per_example/{k}': (problem.DATA, *v.shape[1:]) for k, v in held.items()}
            rows = {k.split('/')[1]: v for k, v in arrays.initial(shapes).items()}
            tree['per_example'] = with_rows(held, rows)
    state = state.replace(params=params, extra=extra)
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state)


def run(name: str, dtype=np.float32, changes: dict | None = None) -> dict[str, np.ndarray]:
    """Loss and learning rate of each step, and all arrays of the final state by their paths.

    `changes` replace config fields, for showing that a fault is caught.
    """
    c = configured(name)
    for field, value in (changes or {}).items():
        group, leaf = field.split('.')
        with c.unlocked():
            c[group][leaf] = value
    method = build.build_method(c, steps=problem.STEPS, data_size=problem.DATA)
    optimizer, rate = build.build_optimizer(c, epoch_steps=problem.BATCHES)

    def views(key, images, positions, sources):
        return (images,), ({},)

    step = jax.jit(make_step(method, optimizer, rate, views, probe_rate=1e-3, view_count=1))
    first = {'views': (jnp.asarray(problem.view(name, 0)),), 'index': jnp.asarray(problem.index(0))}
    state = started(init_state(method, optimizer, first, seed=0, classes=1), dtype)
    # The optimiser's state is made anew, since its moments are those of other weights.
    state = state.replace(opt_state=optimizer.init(state.params))
    found: dict = {'loss': [], 'learning_rate': []}
    for number in range(problem.STEPS):
        index = jnp.asarray(problem.index(number))
        images = jnp.asarray(problem.view(name, number), dtype)
        state, metrics = step(state, {'input': images, 'label': jnp.zeros_like(index), 'index': index}, 0)
        for key, values in found.items():
            values.append(metrics[key])
    final = {**flat({'params': state.params}), **flat(dict(state.extra))}
    final.pop('normalizer/known', None)
    if not problem.CASES[name].get('method.negatives'):
        final.pop('normalizer/log', None)
    final = {k: np.asarray(v)[: problem.DATA] if 'per_example' in k else np.asarray(v) for k, v in final.items()}
    return {**{k: np.asarray(v, np.float64) for k, v in found.items()}, **final}


def negatives() -> np.ndarray:
    """The rows that InstDisc draws at each step, `[steps, batch, negatives]`: the recorder takes the same."""
    found = []
    for t in range(problem.STEPS):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), t), CRITERION)
        shape = (1, arrays.BATCH, problem.CASES['instdisc']['method.negatives'])
        found.append(jax.random.randint(key, shape, 0, problem.DATA, jnp.int32)[0])
    return np.asarray(found, np.uint8)


if __name__ == '__main__':
    if sys.argv[1:] == ['negatives']:  # for the recorder
        np.savez_compressed(arrays.HERE / 'negatives.npz', negatives=negatives())
    else:
        table(sys.argv[1:] or list(problem.CASES), run)
