"""Many runs of one config at once, which differ in hyper-parameters only: those are values of one program.

Members share the data, its order and the views, which are drawn once for all of them; each member is,
to rounding, the run that its own config would give alone. What changes the program itself (a method, a
width, a control) needs a sweep of its own.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from ..config.fields import flatten
from ..errors import UserError, nearest
from ..methods import METHODS, Method
from ..signature import domains
from . import build
from .controls import pair_sources
from .gradient import VIEWS
from .run import Run
from .step import TrainState, count_views, init_state, make_step

OPTIMIZER_VALUES = ('learning_rate', 'weight_decay', 'momentum', 'beta2', 'trust', 'warmup_start', 'final_share')


class Trained(NamedTuple):
    """What a sweep ends with.

    Attributes:
      run: the objects that the members share; `run.data` holds the images.
      members: the swept fields of each member.
      states: final training state of each member.
      encode: `(state, prepared images) -> {'features', 'embeddings'}`, jitted once for all members.
      metrics: name -> `[members, epochs]`, the mean over the steps of an epoch; `finite` below 1 marks a
        member whose loss or gradient was not a number.
      seconds: wall-clock time of the training, compilation included.
    """

    run: Run
    members: list[dict[str, float]]
    states: list[TrainState]
    encode: Callable[[TrainState, Array], dict[str, Array]]
    metrics: dict[str, np.ndarray]
    seconds: float


def fields_of(config: ConfigDict) -> list[str]:
    """The fields of a config that members may differ in: numbers that nothing branches on."""
    static = {f'method.{name}' for name, domain in domains(METHODS[config.method.name]).items() if domain.static}
    method = [
        name
        for name, value in flatten(config).items()
        if name.startswith('method.') and isinstance(value, float) and name not in static
    ]
    return [*(f'optimizer.{name}' for name in OPTIMIZER_VALUES), 'probe.learning_rate', *method]


def _filled(config: ConfigDict, members: Iterable[dict[str, Any]]) -> list[dict[str, float]]:
    """The members, each with a value for every field that any of them sets; or an error that names the fault."""
    members = [dict(member) for member in members]
    if not members:
        raise UserError('a sweep needs at least one member')
    flat, allowed = flatten(config), fields_of(config)
    for number, member in enumerate(members):
        for name, value in member.items():
            if name not in allowed:
                raise UserError(f'{name} cannot be swept as a value{nearest(name, allowed)}')
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise UserError(f'{name}={value!r} of member {number} is no finite number')
    names = sorted({name for member in members for name in member})
    return [{name: float(member.get(name, flat[name])) for name in names} for member in members]


def _split(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Values for the method, for the optimiser, and the probe's rate (None where it is not swept)."""
    of = {
        g: {n.removeprefix(f'{g}.'): v for n, v in values.items() if n.startswith(f'{g}.')}
        for g in ('method', 'optimizer')
    }
    return of['method'], of['optimizer'], values.get('probe.learning_rate')


def train(
    config: ConfigDict,
    members: Iterable[dict[str, Any]],
    *,
    width: int = 0,
    devices: int | None = None,
    change: Callable[[Method], Method] = lambda method: method,
    progress: bool = False,
) -> Trained:
    """Trains one run a member.

    Args:
      config: resolved and validated; its `seed` and `control` hold for all members.
      members: one `{field: number}` each, fields out of :func:`fields_of`; what a member leaves out has the
        config's value.
      width: members that one program trains side by side, by `vmap`. More fill an accelerator; on CPU
        they only crowd the cache, so 0 takes 1 there and all of them elsewhere.
      devices: use only the first so many; the batch is spread over them.
      change: applied to every member's method, as in :class:`selfsup.engine.run.Run`.
      progress: print a line about every tenth of the epochs.

    Raises:
      UserError: if a field cannot be swept, or the method is refreshed between epochs.
    """
    members = _filled(config, members)
    names = list(members[0])
    width = min(width or (1 if jax.default_backend() == 'cpu' else len(members)), len(members))
    run = Run(config, devices=devices, change=change)
    if run.method.refresh:
        raise UserError(f'{config.method.name} is refreshed between epochs, which a sweep does not do')
    size, total = config.data.batch_size, run.total
    view_count = count_views(config.augment.views)
    reference = run.reference()

    def parts(values: dict[str, Any]) -> tuple:
        of_method, of_optimizer, _ = _split(values)
        method = build.build_method(config, steps=total, data_size=len(run.data.train), **of_method)
        return change(method), *build.build_optimizer(config, epoch_steps=run.epoch_steps, **of_optimizer)

    def start(values: dict[str, Any]) -> TrainState:
        images = jnp.zeros((2, *run.image_shape), run.data.train.spec.dtype)
        views, _ = run.views(jax.random.key(0), images, jnp.arange(2))
        method, optimizer, _ = parts(values)
        batch = {'views': views, **({} if reference is None else {'reference': run.prepare(reference)})}
        return init_state(method, optimizer, batch, seed=config.seed, classes=run.classes)

    @jax.jit
    def draw(step: Array, data: dict[str, Array], indices: Array) -> dict[str, Any]:
        # The same keys as in the step of a single run, outside the members so that it is done once.
        rows = jax.tree.map(lambda x: x[indices] if run.feed.resident else x[0], data)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), step), VIEWS)
        views = run.views(key, rows['input'], jnp.arange(size), pair_sources(config.control, size, view_count))
        return {'input': views, 'label': rows['label'], 'index': indices}

    def drawn(key: Any, images: Any, positions: Any, sources: Any) -> Any:
        return images

    def update(values: dict[str, Any], state: TrainState, rows: dict[str, Any]) -> tuple[TrainState, dict[str, Array]]:
        method, optimizer, learning_rate = parts(values)
        probe_rate = _split(values)[2]
        step = make_step(
            method,
            optimizer,
            learning_rate,
            drawn,
            probe_rate=config.probe.learning_rate if probe_rate is None else probe_rate,
            control=config.control,
            view_count=view_count,
            skip_nonfinite=config.train.on_nonfinite == 'skip',
            mesh=run.mesh,
        )
        return step(state, rows, config.seed)

    shared: Any = None  # the step counter, so that what branches on it stays scalar
    axes = TrainState(step=shared, params=0, extra=0, opt_state=0, probe=0)
    begin = jax.jit(jax.vmap(start, out_axes=axes, axis_size=width))
    advance = jax.jit(jax.vmap(update, in_axes=(0, axes, None), out_axes=(axes, 0), axis_size=width), donate_argnums=1)
    padded = members + [members[-1]] * (-len(members) % width)
    groups = [
        {name: jnp.asarray([m[name] for m in padded[i : i + width]], jnp.float32) for name in names}
        for i in range(0, len(padded), width)
    ]
    began = time.monotonic()
    states = [begin(values) for values in groups]
    epochs = []
    for epoch in range(config.train.epochs):
        reports: list[list] = [[] for _ in groups]
        for number in range(epoch * run.epoch_steps, (epoch + 1) * run.epoch_steps):
            data, indices = run.feed(number, 1)
            rows = draw(jnp.asarray(number), data, indices[0])
            for group, values in enumerate(groups):
                states[group], report = advance(values, states[group], rows)
                reports[group].append(report)
            jax.block_until_ready(reports[-1][-1])  # else the views of many steps pile up in memory
        epochs.append(_epoch_means(reports, len(members)))
        if progress and (epoch + 1) * 10 // config.train.epochs > epoch * 10 // config.train.epochs:
            low, high = np.min(epochs[-1]['loss']), np.max(epochs[-1]['loss'])
            took = time.monotonic() - began
            print(f'epoch {epoch + 1}/{config.train.epochs}  loss {low:.4f} to {high:.4f}  {took:.0f} s', flush=True)
    seconds = time.monotonic() - began
    single = [_member(states[i // width], i % width) for i in range(len(members))]
    method = run.method
    encode = jax.jit(lambda state, images: method.encode(method.network(state.params, state.extra), images))
    metrics = {name: np.stack([epoch[name] for epoch in epochs], axis=1) for name in epochs[0]}
    return Trained(run, members, single, encode, metrics, seconds)


def _member(state: TrainState, row: int) -> TrainState:
    """One member of a group's state."""
    nothing: Any = None
    own = jax.tree.map(lambda x: x[row], dataclasses.replace(state, step=nothing))
    return dataclasses.replace(own, step=state.step)


def _epoch_means(reports: list[list[dict[str, Array]]], members: int) -> dict[str, np.ndarray]:
    """Metric -> mean over an epoch's steps `[members]`, from each group's reports of every step."""
    names = reports[0][0].keys()
    fetched = jax.device_get(reports)
    return {n: np.concatenate([np.mean([r[n] for r in group], axis=0) for group in fetched])[:members] for n in names}
