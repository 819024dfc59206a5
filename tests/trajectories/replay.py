"""Our run of a case: the config's method and optimiser in the training step that every run takes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import config
from selfsup.engine import build
from selfsup.engine.gradient import EMBED
from selfsup.engine.step import init_state, make_step
from trajectories import problem

HERE = Path(__file__).parent


def configured(name: str) -> config.ConfigDict:
    """The resolved, validated config of a case."""
    c = config.defaults()
    c.method.name = problem.method(name)
    c.model.name = 'resnet18'
    c.augment.recipe = 'digits'  # for the validation alone: the views are fixed
    fields = dict(problem.fields(name))
    fields.pop('method.name', None)
    c.optimizer.groups = config.ConfigDict(fields.pop('optimizer.groups', {}))
    return config.with_overrides(c, [f'{k}={v if isinstance(v, str) else repr(v)}' for k, v in fields.items()])


def flat(tree: dict, prefix: str = '') -> dict:
    """`{'encoder/conv1/kernel': array, …}`."""
    found = {}
    for key, value in tree.items():
        path = f'{prefix}{key}'
        found.update(flat(value, f'{path}/') if isinstance(value, dict) else {path: value})
    return found


def filled(tree: dict, values: dict, prefix: str = '') -> dict:
    """`tree` with the leaves that `values` has."""
    return {
        key: filled(value, values, f'{prefix}{key}/')
        if isinstance(value, dict)
        else jnp.asarray(values[f'{prefix}{key}'], value.dtype)
        for key, value in tree.items()
    }


def started(state, name: str):
    """The training state with the case's initial weights, target network and queue."""
    params, extra = state.params, dict(state.extra)
    params = filled(params, problem.initial({k: v.shape for k, v in flat(params).items()}))
    if 'target' in extra:
        mine = {k: params[k] for k in extra['target']['params']}
        extra['target'] = {**extra['target'], 'params': jax.tree.map(jnp.copy, mine)}
    if 'queue' in extra and name != 'swav':  # SwAV's is filled by the run
        extra['queue'] = jnp.asarray(problem.initial({'queue': extra['queue'].shape})['queue'])
    return state.replace(params=params, extra=extra)


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
    optimizer, rate = build.build_optimizer(c, epoch_steps=problem.epoch_steps(name))
    count = len(problem.sizes(name))
    step = make_step(
        method,
        optimizer,
        rate,
        lambda key, images, positions, sources: (images, ()),
        probe_rate=1e-3,
        view_count=count,
    )
    step = jax.jit(step)
    index = jnp.arange(problem.BATCH)
    rows = [tuple(jnp.asarray(v, dtype) for v in problem.views(name, t)) for t in range(problem.STEPS)]
    state = started(init_state(method, optimizer, {'views': rows[0], 'index': index}, seed=0, classes=1), name)
    if dtype == np.float64:
        state = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, state)
    found: dict = {'loss': [], 'learning_rate': []}
    for images in rows:
        state, metrics = step(state, {'input': images, 'label': jnp.zeros_like(index), 'index': index}, 0)
        for key, values in found.items():
            values.append(metrics[key])
    found = {k: np.asarray(v, np.float64) for k, v in found.items()}
    found['loss'] /= c.method.get('scale', 1.0)  # theirs is without the factor
    extra = {k: v for k, v in state.extra.items() if k not in ('filled', 'step')}
    arrays = {**flat({'params': state.params}), **flat(extra)}
    if name == 'swav':  # theirs has the newest rows in front
        arrays['queue'] = jnp.stack([newest_first(q, state.extra['pointer']) for q in arrays['queue']])
    arrays.pop('pointer', None)
    return {k: np.asarray(v) for k, v in {**found, **arrays}.items()}


def places() -> np.ndarray:
    """Where each key stands in the shuffled batch of each step, `[steps, batch]`: the recorder shuffles likewise."""
    found = []
    for t in range(problem.STEPS):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), t), EMBED)
        found.append(jax.random.permutation(jax.random.fold_in(key, 0), problem.BATCH))
    return np.asarray(found, np.int8)


def newest_first(queue, pointer):
    """A ring of blocks with the next write at `pointer`, from the newest block to the oldest."""
    blocks = jnp.roll(queue, -pointer, axis=0).reshape(-1, problem.BATCH, queue.shape[-1])
    return blocks[::-1].reshape(queue.shape)


def table(names: list[str], run: Callable = run) -> None:
    """Prints the rows of docs/parity.md: ours against the recordings, beside the reference's own noise."""
    notes = json.loads((HERE / 'references.json').read_text())
    for name in names:
        theirs = problem.recorded(name)
        found = problem.distance(run(name), theirs)
        with jax.enable_x64(True):
            exact = run(name, np.float64)['loss']
        double = np.max(np.abs(exact - theirs['loss_float64']) / np.abs(theirs['loss_float64']))
        floor = notes[name]['noise_floor']
        noise = [
            ' / '.join(f'{floor[v][k]:.0e}' for k in ('loss', 'parameters'))
            for v in ('threads', 'float64')
            if v in floor
        ]
        where = ', '.join(f'{r} {c[:7]}' for r, c in notes[name]['references'].items())
        cells = [name, where, notes[name]['steps'], f'{notes[name]["moved"]:.2f}']
        cells += [f'{found[k]:.0e}' for k in ('loss', 'parameters', 'state')] + [f'{double:.0e}', '; '.join(noise)]
        print('| ' + ' | '.join(map(str, cells)) + ' |', flush=True)


if __name__ == '__main__':
    if sys.argv[1:] == ['places']:  # where MoCo's keys stand, for the recorder
        np.savez_compressed(HERE / 'places.npz', places=places())
    else:
        table(sys.argv[1:] or list(problem.CASES))
