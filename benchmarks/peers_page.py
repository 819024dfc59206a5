"""The tables of docs/peers.md, from docs/peers.json: lightly's runs and ours, side by side.

`python benchmarks/peers.py` trains both; `python docs/generate.py` writes the tables.
`Runs` is method -> 'seed1' -> half ('ours' or 'lightly') -> its record, which `peers.py` writes.
"""

import statistics
from typing import Any

import numpy as np
from peers_recipe import RECIPES

from experiments.tables import table

Runs = dict[str, dict[str, dict[str, Any]]]
# Score -> its name in the table.
SCORES = {
    'knn': 'k-NN, 20',
    'knn_200': 'k-NN, 200',
    'linear_10': 'linear, 10 labels/class',
    'linear': 'linear, all labels',
}
OURS, THEIRS = 'ours', 'lightly'


def named(method: str) -> str:
    """The title of a recipe."""
    return RECIPES[method].title


def paired(runs: Runs) -> Runs:
    """The runs that both halves have done."""
    both = {m: {s: run for s, run in seeds.items() if {OURS, THEIRS} <= run.keys()} for m, seeds in runs.items()}
    return {method: seeds for method, seeds in both.items() if seeds}


def of_score(seeds: dict[str, Any], half: str, state: str, score: str) -> np.ndarray:
    """A score of each seed, in per cent."""
    return 100 * np.array([run[half]['scores'][state][score] for run in seeds.values()])


def with_error(values: np.ndarray) -> str:
    """Mean ± standard error (ddof 1); the mean alone for one run."""
    error = f' ± {values.std(ddof=1) / np.sqrt(len(values)):.1f}' if len(values) > 1 else ''
    return f'{values.mean():.1f}{error}'


def gap(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float | None]:
    """Difference of means, ours − theirs, and its standard error; None for single runs."""
    if min(len(ours), len(theirs)) < 2:
        return float(ours.mean() - theirs.mean()), None
    error = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    return float(ours.mean() - theirs.mean()), float(error)


def agrees(ours: np.ndarray, theirs: np.ndarray) -> bool | None:
    """Whether the means differ by at most two standard errors of the difference; None for single runs."""
    difference, error = gap(ours, theirs)
    return None if error is None else abs(difference) <= 2 * error


def accuracy(runs: Runs, state: str = 'trained') -> str:
    """One line a method and score."""
    lines = ['| method | score | ours | lightly | difference | within two standard errors |', '| --- ' * 6 + '|']
    for method, seeds in paired(runs).items():
        for number, (score, name) in enumerate(SCORES.items()):
            ours, theirs = (of_score(seeds, half, state, score) for half in (OURS, THEIRS))
            answer = {True: 'yes', False: '**no**', None: '–'}[agrees(ours, theirs)]
            cells = (
                named(method) if number == 0 else '',
                name,
                with_error(ours),
                with_error(theirs),
                table.lead(ours, theirs),
                answer,
            )
            lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def untrained(runs: Runs) -> str:
    """The scores before training, of the method with the most seeds: the encoder's start depends on the seed alone."""
    both = paired(runs)
    most = max(both, key=lambda method: len(both[method]))
    return accuracy({most: both[most]}, 'untrained').replace(f'| {named(most)} |', '| untrained encoder |', 1)


def apart(runs: Runs, state: str = 'trained') -> list[tuple[str, str]]:
    """(method, score) of the means that differ by more than two standard errors."""
    return [
        (method, score)
        for method, seeds in paired(runs).items()
        for score in SCORES
        if agrees(*(of_score(seeds, half, state, score) for half in (OURS, THEIRS))) is False
    ]


def verdict(runs: Runs) -> str:
    """One sentence: how many means agree, and which do not."""
    both = paired(runs)
    compared = sum(len(SCORES) for seeds in both.values() if len(seeds) > 1)
    if not compared:
        return 'No method has two seeds of both yet, so whether they agree is not said.'
    out = apart(runs)
    which = ''.join(f'; {named(m)}: {SCORES[s]}' for m, s in out)
    return f'{compared - len(out)} of {compared} means agree within two standard errors{which}.'


def seconds(run: dict[str, Any], half: str, column: int) -> np.ndarray:
    """Of each epoch: the clock's seconds (column 0) or the processor's (1)."""
    return np.array([epoch[column] for epoch in run[half]['epochs']])


def ratios(seeds: dict[str, Any], column: int) -> list[float]:
    """Lightly's time over ours of each epoch but the first of a run, in which ours compiles.

    Runs whose halves were trained apart have none.
    """
    return [
        float(value)
        for run in seeds.values()
        if not run.get('apart')
        for value in (seconds(run, THEIRS, column) / seconds(run, OURS, column))[1:]
    ]


def to_the_end(run: dict[str, Any], half: str, name: str) -> float:
    """Seconds from the process's start, imports and compilation included, to the last step."""
    column = {'seconds': 0, 'processor': 1}[name]
    return run[half]['start'][name] + float(seconds(run, half, column).sum())


def times(runs: Runs, images: int) -> str:
    """One line a method; `images` are those of an epoch."""
    heads = [
        'method',
        'epoch, lightly over ours: processor',
        'clock',
        'images per processor second, ours',
        'lightly',
        'processor seconds to the end, ours',
        'lightly',
        'peak memory, ours',
        'lightly',
    ]
    lines = ['| ' + ' | '.join(heads) + ' |', '| --- ' + '| ---: ' * (len(heads) - 1) + '|']
    for method, seeds in paired(runs).items():
        cells = [named(method)]
        for column in (1, 0):
            found = sorted(ratios(seeds, column))
            spread = f' ({found[0]:.2f}–{found[-1]:.2f})' if found else ''
            cells.append(f'{statistics.median(found):.2f}{spread}' if found else '–')
        for half in (OURS, THEIRS):
            epochs = [float(value) for run in seeds.values() for value in seconds(run, half, 1)[1:]]
            cells.append(f'{images / statistics.median(epochs):.0f}' if epochs else '–')
        for half in (OURS, THEIRS):
            cells.append(f'{statistics.median(to_the_end(run, half, "processor") for run in seeds.values()):.0f}')
        for half in (OURS, THEIRS):
            cells.append(f'{max(run[half]["memory"] for run in seeds.values()):.0f} MiB')
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def agreement(found: dict[str, dict[str, float]]) -> str:
    """How far apart the first steps from the same weights with the same views are, one line a method."""
    if not found:
        return 'Not run yet.\n'
    lines = ['| method | steps | loss | features of the test images |', '| --- | ---: | ---: | ---: |']
    for method, told in found.items():
        numbers = f'{told["steps"]:.0f} | {told["loss"]:.0e} | {told["features"]:.0e}'
        lines.append(f'| {named(method)} | {numbers} |')
    return '\n'.join(lines) + '\n'


def versions(runs: Runs) -> str:
    """What both halves ran with, from the first run."""
    seeds = next(iter(paired(runs).values()))
    first = next(iter(seeds.values()))
    told = {**first[OURS]['about'], **first[THEIRS]['about']}
    return ', '.join(f'{name} {version}' for name, version in told.items())


def part(recorded: dict[str, Any]) -> str:
    """The generated part of docs/peers.md."""
    runs, settings = recorded['runs'], recorded['settings']
    seeds = {named(m): len(found) for m, found in paired(runs).items()}
    counts = ', '.join(f'{name} {count}' for name, count in seeds.items())
    return (
        f'{settings["epochs"]} epochs of batches of {settings["batch"]}; seeds: {counts}. {versions(runs)}.\n\n'
        f'**Accuracy**, mean ± standard error over seeds. {verdict(runs)}\n\n{accuracy(runs)}\n'
        f'**Before training**: the encoder as a seed starts it, the same for every method.\n\n{untrained(runs)}\n'
        f'**Time and memory**:\n\n{times(runs, settings["images"])}\n'
        f'**The same steps** (same initial weights, same views), largest relative difference:\n\n'
        f'{agreement(recorded["agreement"])}'
    )
