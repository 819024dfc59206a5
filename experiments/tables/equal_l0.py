"""Sparse autoencoders of the features in a file, all with about as many units on: their configs and the search."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from selfsup.config.fields import flatten

from . import table
from .seeds import Together
from .trained import Trained

# The field of a method that decides how many units are on, where that is not their number itself.
KNOBS = {
    'batch_topk': 'method.active',
    'gated': 'method.weight',
    'jump_relu': 'method.target',
    'matryoshka': 'method.active',
    'p_anneal': 'method.weight',
    'relu_l1': 'method.weight',
}
NEAR = 0.05  # relative distance of L0 from the one that is searched for at which the search ends
TRIALS = 3
SPREAD = 4.0  # factor by which the values of the first trial reach below and above the config's
# Fields that count steps, and the steps of the digits configs (100 epochs of 11 batches) from which they are scaled.
IN_STEPS, DIGITS_STEPS = ('weight_warmup', 'anneal_start', 'anneal_steps'), 1100
BATCH = 512


def load(name: str, *overrides: str) -> Any:
    """A config of experiments/dictionaries."""
    return table.load('dictionaries', name, overrides)


def on_features(name: str, file: str, *, times: int, active: int, epochs: int) -> list[str]:
    """Overrides by which a config of the digits trains on the features in a file.

    Args:
      name: of the config.
      file: of selfsup embed.
      times: units, as a multiple of the features' numbers.
      active: units that are to be on in a row.
      epochs: of training; what counts steps keeps its share of them.
    """
    from selfsup.data import sources

    rows = sources.open_source(f'features:{file}')[0]
    units, given = times * int(np.prod(rows.image_shape)), load(name).method
    changes = {
        'data.source': f'features:{file}',
        'data.batch_size': BATCH,
        'train.epochs': epochs,
        'optimizer.warmup_epochs': epochs / 20,
        'monitor.every_epochs': epochs,
        'method.dead_after': len(rows),
        **({'method.units': units} if 'units' in given else {'model.widths': f'({units},)'}),
    }
    share = epochs * (len(rows) // BATCH) / DIGITS_STEPS
    changes |= {f'method.{field}': max(round(share * given[field]), 1) for field in IN_STEPS if field in given}
    if 'active' in given:
        changes['method.active'] = active
    if 'target' in given:
        changes['method.target'] = float(active)
    if 'points' in given:
        changes['method.points'] = max(given.points, units)
    if given.get('resample'):
        changes['method.resample'] = 0  # so that seeds can train as one program
    return [f'{field}={value}' for field, value in changes.items()]


def following(tried: Sequence[tuple[float, float]], target: float, *, rises: bool) -> float:
    """The next value of what decides L0: by a line through the logarithms of the two nearest, or of slope ±1.

    Args:
      tried: values, and the L0 that each gave.
      target: the L0 wanted.
      rises: whether L0 rises with the value.
    """
    logs = sorted((math.log(max(l0, 1e-3) / target), math.log(value)) for value, l0 in tried)
    logs.sort(key=lambda pair: abs(pair[0]))
    slope = 1.0 if rises else -1.0
    if len(logs) > 1 and (logs[0][0] - logs[1][0]) * slope * (logs[0][1] - logs[1][1]) > 0:
        slope = (logs[0][0] - logs[1][0]) / (logs[0][1] - logs[1][1])
    move = -logs[0][0] / slope
    return math.exp(logs[0][1] + min(max(move, -math.log(4)), math.log(4)))


def members(program: Together, state: Any, count: int) -> Iterator[Trained]:
    """The runs of a program one after another; each is valid until the next."""
    for number in range(count):
        yield Trained(program.run, program.member(state, number))


def trained(
    name: str, overrides: Sequence[str], seeds: list[int], target: float, l0: Callable[[Trained], float]
) -> tuple[list[str], Iterator[Trained]]:
    """The runs of a method over seeds, and the override that was searched for, on the first seed.

    Args:
      name: of the config.
      overrides: of its fields.
      seeds: of the runs, which one program trains.
      target: units that are to be on in a row.
      l0: how many are.
    """
    field, count = KNOBS.get(name), len(seeds)
    if field is None:
        program = Together(load(name, *overrides), (), count)
        return [], members(program, program.train(seeds, {}), count)
    whole = field == 'method.active'  # such numbers are shapes: each needs a program of its own
    fixed = None if whole else Together(load(name, *overrides), (field,), count)
    value, tried, best = float(flatten(load(name, *overrides))[field]), [], None
    if fixed is not None and count > 1:
        values = list(value * SPREAD ** np.linspace(-1, 1, count))
        state = fixed.train([seeds[0]] * count, {field: values})
        tried = [(v, l0(t)) for v, t in zip(values, members(fixed, state, count), strict=True)]
        value = following(tried, target, rises=field != 'method.weight')
    for _ in range(TRIALS):
        program = fixed or Together(load(name, *overrides, f'{field}={int(value)}'), (), count)
        state = program.train(seeds, {} if whole else {field: [value] * count})
        tried.append((value, l0(next(members(program, state, count)))))
        distance = abs(math.log(max(tried[-1][1], 1e-3) / target))
        if best is None or distance < best[0]:
            best = distance, value, program, state
        following_value = following(tried, target, rises=field != 'method.weight')
        value = max(round(following_value), 1) if whole else following_value
        if best[0] < NEAR or value in [v for v, _ in tried]:
            break
    assert best is not None
    return [f'{field}={best[1]:.4g}'], members(best[2], best[3], count)
