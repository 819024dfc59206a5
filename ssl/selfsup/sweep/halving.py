"""Successive halving: of the runs of a sweep only those go on that a label-free measure puts first.

After each of several numbers of epochs the better part of the combinations goes on to the next (Jamieson and Talwalkar
2016, https://arxiv.org/abs/1502.07943, algorithm 1). Every run has its own schedule from the start, so that one
that is kept ends as it would alone. The decisions are functions of the runs' metrics and are made again, not stored.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ..engine.step import count_views
from ..errors import UserError, nearest
from ..evals.measures import measured
from ..evals.model_selection import goodness
from ..files import read_json, read_jsonl


class Rule(NamedTuple):
    """How a sweep is pruned.

    Attributes:
      by: the measure of `metrics.jsonl`.
      rungs: epochs after which the runs are compared, ascending.
      keep: share of the combinations that goes on from each, rounded up.
    """

    by: str
    rungs: tuple[float, ...]
    keep: float


def rule(by: str, rungs: str, keep: str, configs: Sequence[ConfigDict]) -> Rule:
    """The rule of the options `--prune`, `--rungs` and `--keep`.

    Raises:
      UserError: for a measure that the runs do not record, epochs that do not ascend, that no run has measured yet, or
        that are not before the end of every run, and a share outside (0, 1).
    """
    for config in configs:
        known = ('loss', *measured(count_views(config.augment.views)), *config.monitor.measures)
        if by not in known:
            raise UserError(f'--prune={by} is not measured by these runs{nearest(by, known)}; see monitor.measures')
    epochs = tuple(_number('rungs', word) for word in rungs.split(','))
    if any(a >= b for a, b in itertools.pairwise(epochs)):
        raise UserError(f'--rungs={rungs} must ascend')
    first, last = max(c.monitor.every_epochs for c in configs), min(c.train.epochs for c in configs)
    if not first <= epochs[0] <= epochs[-1] < last:
        raise UserError(
            f'--rungs={rungs} must lie from {first} (monitor.every_epochs, the first measurement) to below {last} '
            f'(train.epochs)'
        )
    share = _number('keep', keep)
    if not 0 < share < 1:
        raise UserError(f'--keep={keep} must be a share above 0 and below 1')
    return Rule(by, epochs, share)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f'--{name}: {text!r} is no number')
    return value


def merit(place: Path, by: str, epochs: float) -> float:
    """How good a measure is when so many epochs have passed, more being better; −∞ for a run that has none by then."""
    try:
        step = round(epochs * read_json(place / 'config.json')['steps_per_epoch'])
        lines = read_jsonl(place / 'metrics.jsonl')
    except UserError:  # it failed before it had a workdir
        return -math.inf
    found = [line for line in lines if line['step'] <= step and by in line]
    return goodness(found[-1], by) if found else -math.inf


def _left(count: int, keep: float) -> int:
    """How many of so many go on: the share rounded up, but for what rounding adds to it; at least one."""
    return max(math.ceil(keep * count - 1e-9), 1)


def kept(merits: Mapping[str, Sequence[float]], keep: float) -> list[str]:
    """The better part of the combinations by the mean over their runs, in the order given; at least one."""
    count = _left(len(merits), keep)
    means = {name: float(np.mean(values)) for name, values in merits.items()}
    first = sorted(means, key=lambda name: -means[name])[:count]
    return [name for name in merits if name in first]


def survivors(places: Mapping[str, Sequence[Path]], given: Rule, rung: int) -> list[str]:
    """The combinations that go on from a rung, from the metrics of all their runs.

    Args:
      places: combination -> the workdirs of its runs, of all combinations of the sweep.
      given: the rule.
      rung: number of the rung, from 0; the decisions at those before it are made too.
    """
    left = list(places)
    for epochs in given.rungs[: rung + 1]:
        merits = {name: [merit(place, given.by, epochs) for place in places[name]] for name in left}
        left = kept(merits, given.keep)
    return left


def share_trained(count: int, given: Rule, epochs: int) -> float:
    """The share of all epochs of `count` combinations that is trained under a rule."""
    total, left, before = 0.0, count, 0.0
    for rung in given.rungs:
        total += left * (rung - before)
        left, before = _left(left, given.keep), rung
    return (total + left * (epochs - before)) / (count * epochs)
