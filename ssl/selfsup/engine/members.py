"""Members of one swept program (:mod:`.sweep`) as workdirs of their own, which commands take as any other run's."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from ..config.fields import flatten
from ..config.resolve import as_flat
from . import build, sweep, workdir
from .checkpoint import Checkpoints
from .loop import about_run
from .monitor import scalars
from .writer import Writer

# Fields with which a run does something between or inside steps that a swept program does not do.
ALONE = {
    'train.microbatches': 1,
    'parallel.shard': 'replicated',
    'monitor.patience': 0,
    'monitor.on_collapse': 'warn',
    'init_from': '',
    'branch_from': '',
    'train.stop_after_steps': 0,
    'train.stop_after_minutes': 0.0,
}


class Group(NamedTuple):
    """Runs that one program trains.

    Attributes:
      names: of the runs.
      members: for each the fields in which they may differ, with their values.
      alone: why they cannot be trained together; '' where they can.
    """

    names: list[Any]
    members: list[dict[str, float]]
    alone: str


def grouped(configs: dict[Any, ConfigDict]) -> list[Group]:
    """Resolved configs by name, as groups whose configs differ in fields that can be values alone."""
    found: dict[str, Group] = {}
    for name, config in configs.items():
        flat = as_flat(config)
        swept = [field for field in sweep.fields_of(config) if field in flat]
        key = json.dumps({k: v for k, v in flat.items() if k not in swept}, sort_keys=True)
        group = found.setdefault(key, Group([], [], refusal(config)))
        group.names.append(name)
        group.members.append({field: float(flat[field]) for field in swept})
    return [group._replace(members=_differing(group.members)) for group in found.values()]


def _differing(members: list[dict[str, float]]) -> list[dict[str, float]]:
    fields = [field for field in members[0] if len({member[field] for member in members}) > 1]
    return [{field: member[field] for field in fields} for member in members]


def refusal(config: ConfigDict) -> str:
    """Why runs of a config are trained one after another; '' where one program can train several."""
    flat = flatten(config)
    fields = [f'{name}={flat[name]!r}' for name, value in ALONE.items() if flat[name] != value]
    if fields:
        return f'{fields[0]} is for runs one by one'
    if build.build_method(config, steps=1, data_size=build.ANY_SIZE).refresh:
        return f'{config.method.name} is refreshed between epochs'
    return ''


def train(
    configs: Sequence[ConfigDict], places: Sequence[Path], members: list[dict[str, float]], *, width: int = 0
) -> list[str]:
    """Trains runs that differ in `members` as one program, and writes each as a workdir whose training has ended.

    Numbers are those of runs one by one to rounding. `metrics.jsonl` has the means over each epoch and one measurement
    on the held-out images, of the end; no times are written, since the runs share them.

    Args:
      configs: resolved; alike but for the fields of `members`.
      places: the workdir of each.
      width: runs side by side, as in :func:`.sweep.train`.

    Returns:
      For each run '' or, where it was not finite, what is wrong; then it has no workdir.
    """
    out = sweep.train(configs[0], members, width=width, progress=True)
    monitor = out.run.monitor()
    wrong = [_not_finite(config, out.metrics, row) for row, config in enumerate(configs)]
    for row, (config, place) in enumerate(zip(configs, places, strict=True)):
        if not wrong[row]:
            numbers = scalars(jax.device_get(monitor(out.states[row])))
            write(config, place, out, row, numbers)
    return wrong


def _not_finite(config: ConfigDict, metrics: dict[str, np.ndarray], row: int) -> str:
    if config.train.on_nonfinite == 'skip' or metrics['finite'][row].min() == 1:
        return ''
    return f'not finite in epoch {int(np.argmax(metrics["finite"][row] < 1)) + 1}'


def write(config: ConfigDict, place: Path, out: sweep.Trained, row: int, numbers: dict[str, float]) -> None:
    """One member as a workdir: config, metrics and a checkpoint of its last step."""
    run = out.run
    root, lock = workdir.hold(place)
    try:
        workdir.claim(root, config, about_run(run))
        checkpoints = Checkpoints(root, keep=config.checkpoint.keep, best=config.checkpoint.best)
        writer = Writer(root, step=0)
        try:
            for step, values in epochs(out.metrics, row, run.epoch_steps):
                writer.write(step, values)
            writer.write(run.total, numbers)
            checkpoints.save(run.total, out.states[row], numbers)
            checkpoints.wait()
        finally:
            checkpoints.close()
            writer.close()
    finally:
        if lock is not None:
            lock.release()


def epochs(metrics: dict[str, np.ndarray], row: int, steps: int) -> Iterable[tuple[int, dict[str, float]]]:
    """Last step of each epoch and the means of its metrics."""
    for epoch in range(next(iter(metrics.values())).shape[1]):
        yield (epoch + 1) * steps, {k: float(v[row, epoch]) for k, v in metrics.items() if k != 'finite'}
