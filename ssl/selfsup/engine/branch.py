"""A run that goes on from a checkpoint of another one in a workdir of its own: `config.branch_from`.

A trunk with a constant learning rate is trained once; branches of different lengths share it and differ in where the
rate falls (`optimizer.cooldown_epochs`). A branch is, to the bit, the run of its config from the start
(Hägele et al. 2024, https://arxiv.org/abs/2405.18392, compare such schedules with cosines of every length).
"""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ..config import differences, from_dict
from ..errors import UserError
from ..files import expanded, json_line, placed, read_json, read_jsonl
from ..methods import METHODS
from ..signature import domains
from . import build, multihost
from .checkpoint import Checkpoints
from .run import Run
from .step import TrainState

# Fields in which a branch may differ from its trunk, besides those of any resumed run.
FREE = ('branch_from', 'optimizer.cooldown_epochs')


def begin(run: Run) -> tuple[int, TrainState] | None:
    """The trunk's last checkpoint before this run's cool-down.

    Args:
      run: of a config whose `branch_from` may name the trunk's workdir.

    Returns:
      (step, state), or None where `branch_from` names nothing.

    Raises:
      UserError: where the trunk is no run, is another one up to that step, or has no checkpoint before it.
    """
    config = run.config
    if not config.branch_from:
        return None
    trunk = expanded(config.branch_from)
    if not (trunk / 'config.json').is_file():
        raise UserError(f'branch_from={config.branch_from!r} is no workdir of a run: it has no config.json')
    about = read_json(trunk / 'config.json')
    _check_same(about, run)
    last = run.total - round(config.optimizer.cooldown_epochs * run.epoch_steps)
    checkpoints = Checkpoints(trunk, read_only=True)
    steps = multihost.from_first(checkpoints.steps)
    # A refresh that a longer run makes at the trunk's last step was not made there.
    ended = about.get('total_steps') if run.method.refresh else None
    fitting = [step for step in steps if step <= last and step != ended]
    if not fitting:
        raise UserError(
            f'branch_from={config.branch_from!r} has no checkpoint up to step {last}, where the branch leaves it; '
            f'there are {steps or "none"} (checkpoint.every_epochs and checkpoint.keep of the trunk decide)'
        )
    found = checkpoints.restore(run.shapes, fitting[-1])
    assert found is not None
    _check_rates(from_dict(about['config']), run, found[0])
    return found


def _check_same(about: dict[str, Any], run: Run) -> None:
    """Refuses a trunk of another config or of other data, and hyper-parameters that depend on the length of the run."""
    config, where = run.config, f'branch_from={run.config.branch_from!r}'
    if not isinstance(about.get('config'), dict):
        raise UserError(f'{where}: its config.json is damaged')
    trunk = from_dict(about['config'])
    changed = [line for line in differences(trunk, config) if line.split(':')[0] not in FREE]
    if changed:
        raise UserError(f'{where} is a run of another config: {"; ".join(changed[:8])}')
    if about.get('fingerprint') != run.data.fingerprint:
        raise UserError(f'{where} was trained on other data')
    if trunk.train.epochs == config.train.epochs:
        return
    moving = [
        f'method.{name}={config.method[name]} moves to {config.method[f"{name}_final"]}'
        for name, domain in domains(METHODS[config.method.name]).items()
        if domain.scheduled and config.method[name] != config.method[f'{name}_final']
    ]
    moving += [f'method.{name} moves to schedules.{name}={final}' for name, final in config.schedules.items()]
    if config.optimizer.weight_decay_final is not None:
        moving.append(f'optimizer.weight_decay moves to weight_decay_final={config.optimizer.weight_decay_final}')
    if moving:
        raise UserError(
            f'{where} has {trunk.train.epochs} epochs and this run {config.train.epochs}, over which {moving[0]}: up '
            f'to the branch they are not the same run; keep it constant, or the epochs alike'
        )


def _check_rates(trunk: ConfigDict, run: Run, step: int) -> None:
    """Refuses a trunk whose learning rates up to the branch are not those of the run."""
    _, theirs = build.build_optimizer(trunk, epoch_steps=run.epoch_steps)
    steps = np.arange(step)
    differing = np.flatnonzero(np.asarray(theirs(steps)) != np.asarray(run.rate(steps)))
    if len(differing):
        raise UserError(
            f'branch_from={run.config.branch_from!r} has another learning rate at step {differing[0]}, before the '
            f"branch at step {step}; optimizer.schedule='constant' does not depend on the epochs"
        )


def copy_metrics(run: Run, root: Path, step: int) -> None:
    """Writes the trunk's metrics up to `step` to the run's own workdir `root`, as process 0.

    They are the lines that the run itself would have written: a trunk that ended at `step` has one more.
    """
    kept = []
    for line in read_jsonl(expanded(run.config.branch_from) / 'metrics.jsonl'):
        if line['step'] < step or (line['step'] == step and _writes(run, step, 'loss' in line)):
            kept.append(line)
    with placed(root / 'metrics.jsonl') as temporary:
        temporary.write_text(''.join(map(json_line, kept)))


def _writes(run: Run, step: int, of_training: bool) -> bool:
    """Whether the run writes a line of its training, or of a measurement, at a step where its trunk may have ended."""
    if of_training:
        return step % run.config.train.log_every == 0 or step == run.total
    return run.is_border(step, run.config.monitor.every_epochs)
