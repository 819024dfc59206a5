"""Many runs of one config at once, which differ in hyper-parameters only: those are values of one program.

Members share the data, its order and the views, which are drawn once for all of them; each member is,
to rounding, the run that its own config would give alone. What changes the program itself (a method, a
width, a control) needs a sweep of its own.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from ..config import flatten
from ..errors import UserError, nearest
from . import build
from .loop import Run
from .step import VIEWS, TrainState, count_views, init_state, make_step, pair_sources

OPTIMIZER_VALUES = ('learning_rate', 'weight_decay', 'momentum', 'beta2', 'trust', 'warmup_start', 'final_share')


class Trained(NamedTuple):
    """What a sweep ends with.

    Attributes:
      run: the objects that the members share; `run.data` holds the images.
      members: the fields of each member.
      states: final training state of each member.
      encode: `(state, prepared images) -> {'features', 'embeddings'}`, jitted once for all members.
      metrics: name -> `[members, epochs]`, the mean over the steps of an epoch; `finite` below 1 marks a
        member whose loss or gradient was not a number.
      seconds: wall-clock time of the training, compilation included.
    """

    run: Run
    members: list[dict[str, Any]]
    states: list[TrainState]
    encode: Callable[[TrainState, Array], dict[str, Array]]
    metrics: dict[str, np.ndarray]
    seconds: float


def fields_of(config: ConfigDict) -> list[str]:
    """The fields of a config that members may differ in: numbers that nothing branches on."""
    flat = flatten(config)
    method = [name for name, value in flat.items() if name.startswith('method.') and isinstance(value, float)]
    return [*(f'optimizer.{name}' for name in OPTIMIZER_VALUES), 'probe.learning_rate', *method]


def _check(config: ConfigDict, members: list[dict[str, Any]]) -> list[str]:
    """The swept fields, or an error that names what cannot be swept."""
    if not members:
        raise UserError('a sweep needs at least one member')
    names = list(members[0])
    allowed = fields_of(config)
    for number, member in enumerate(members):
        if set(member) != set(names):
            raise UserError(f'member {number} sets {sorted(member)}, and the first one sets {sorted(names)}')
        for name, value in member.items():
            if name not in allowed:
                raise UserError(f'{name} cannot be swept as a value{nearest(name, allowed)}')
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise UserError(f'{name}={value!r} of member {number} is no number')
    return names


def _split(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Values for the method, for the optimiser, and the probe's rate (None where it is not swept)."""
    of = {g: {n.split('.')[1]: v for n, v in values.items() if n.startswith(f'{g}.')} for g in ('method', 'optimizer')}
    return of['method'], of['optimizer'], values.get('probe.learning_rate')


def train(config: ConfigDict, members: Iterable[dict[str, Any]], *, width: int = 0) -> Trained:
    """Trains one run a member.

    Args:
      config: resolved and validated; its `seed` and `control` hold for all members.
      members: one `{field: number}` each, all with the same fields, out of :func:`fields_of`.
      width: members that one program trains side by side, by `vmap`. More fill an accelerator; on CPU
        they only crowd the cache, so 0 takes 1 there and all of them elsewhere.

    Raises:
      UserError: if a field cannot be swept, or members set different ones.
    """
    members = [dict(member) for member in members]
    names = _check(config, members)
    width = min(width or (1 if jax.default_backend() == 'cpu' else len(members)), len(members))
    run = Run(config)
    size, total = config.data.batch_size, run.total
    view_count = count_views(config.augment.views)

    def parts(values: dict[str, Any]) -> tuple:
        of_method, of_optimizer, _ = _split(values)
        method = build.build_method(config, steps=total, data_size=len(run.data.train), **of_method)
        return method, *build.build_optimizer(config, epoch_steps=run.epoch_steps, **of_optimizer)

    def start(values: dict[str, Any]) -> TrainState:
        images = jnp.zeros((2, *run.image_shape), jnp.uint8)
        views, _ = run.views(jax.random.key(0), images, jnp.arange(2))
        method, optimizer, _ = parts(values)
        return init_state(method, optimizer, {'views': views}, seed=config.seed, classes=run.classes)

    @jax.jit
    def draw(step: Array, data: dict[str, Array], indices: Array) -> dict[str, Any]:
        # The same keys as in the step of a single run, outside the members so that it is done once.
        rows = jax.tree.map(lambda x: x[indices] if run.feed.resident else x[0], data)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), step), VIEWS)
        views = run.views(key, rows['image'], jnp.arange(size), pair_sources(config.control, size, view_count))
        return {'image': views, 'label': rows['label'], 'index': indices}

    def update(values: dict[str, Any], state: TrainState, rows: dict[str, Any]) -> tuple[TrainState, dict[str, Array]]:
        rate = _split(values)[2]
        step = make_step(
            *parts(values),
            lambda key, images, positions, sources: images,
            seed=config.seed,
            probe_rate=config.probe.learning_rate if rate is None else rate,
            control=config.control,
            view_count=view_count,
            skip_nonfinite=config.train.on_nonfinite == 'skip',
            mesh=run.mesh,
        )
        return step(state, rows)

    axes = TrainState(step=None, params=0, extra=0, opt_state=0, probe=0)
    begin = jax.jit(jax.vmap(start, out_axes=axes))
    advance = jax.jit(jax.vmap(update, in_axes=(0, axes, None), out_axes=(axes, 0)), donate_argnums=1)
    columns = {name: np.array([m[name] for m in members], np.float32) for name in names}
    padding = -len(members) % width
    groups = [
        {name: jnp.asarray(part) for name, part in zip(names, parts_, strict=True)}
        for parts_ in zip(
            *(np.pad(columns[n], (0, padding), mode='edge').reshape(-1, width) for n in names), strict=True
        )
    ]
    began = time.monotonic()
    states = [begin(values) for values in groups]
    epochs = []
    for epoch in range(config.train.epochs):
        reports: list[list] = [[] for _ in groups]
        for step in range(epoch * run.epoch_steps, (epoch + 1) * run.epoch_steps):
            data, indices = run.feed(step, 1)
            rows = draw(jnp.asarray(step), data, indices[0])
            for number, values in enumerate(groups):
                states[number], report = advance(values, states[number], rows)
                reports[number].append(report)
            jax.block_until_ready(reports[-1][-1])  # else the views of many steps pile up in memory
        means = [jax.tree.map(lambda *x: np.mean(x, axis=0), *jax.device_get(report)) for report in reports]
        epochs.append(jax.tree.map(lambda *x: np.concatenate(x)[: len(members)], *means))
        if run.method.refreshes and epoch + 1 < config.train.epochs:
            raise UserError(f'{config.method.name} is refreshed between epochs and cannot be swept')
    seconds = time.monotonic() - began
    single = [
        jax.tree.map(lambda x, a=axis, r=row: x if a is None else x[r], state, is_leaf=lambda x: x is None)
        for state, axis, row in ()
    ]
    return Trained(run, members, single, None, {}, seconds)
