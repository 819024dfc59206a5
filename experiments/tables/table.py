"""Runs every config of a folder over seeds, with and without the control, and prints the table."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from selfsup import cli, errors

EXPERIMENTS = Path(__file__).parent.parent
CONTROLS = ('none', 'shuffled_pairs')


def run_all(folder: str, workdir: Path, methods: list[str], seeds: list[int], overrides: list[str]) -> None:
    """Trains what is not there yet; a finished run has results.json."""
    from selfsup import config
    from selfsup.engine import loop

    for seed in seeds:
        for method in methods:
            for control in CONTROLS:
                place = workdir / method / control / f'seed{seed}'
                if (place / 'results.json').exists():
                    continue
                file = EXPERIMENTS / folder / f'{method}.py'
                resolved = config.load(str(file), [*overrides, f'seed={seed}', f'control={control}'])
                code = loop.train(resolved, str(place))
                if code:
                    raise SystemExit(code)


def collect(workdir: Path, methods: list[str]) -> dict[str, list[dict[str, float]]]:
    """Row name -> one dict of scores a seed."""
    rows: dict[str, list[dict[str, float]]] = {}
    for method in methods:
        for control in CONTROLS:
            for file in sorted((workdir / method / control).glob('seed*/results.json')):
                scores = json.loads(file.read_text())['scores']
                name = method if control == 'none' else f'{method}, shuffled pairs'
                rows.setdefault(name, []).append(scores['trained'])
                if control == 'none':
                    rows.setdefault(f'{method}, untrained encoder', []).append(scores['untrained'])
                    rows['raw pixels'] = [scores['pixels']]
    pixels = rows.pop('raw pixels', None)
    return {**rows, **({'raw pixels': pixels} if pixels else {})}


def markdown(rows: dict[str, list[dict[str, float]]]) -> str:
    """Mean ± standard deviation (ddof 1) over seeds, in per cent."""
    from selfsup.engine.report import heading

    columns = list(next(iter(rows.values()))[0])
    lines = ['| | ' + ' | '.join(heading(c) for c in columns) + ' | seeds |', '| --- ' * (len(columns) + 2) + '|']
    for name, runs in rows.items():
        cells = []
        for column in columns:
            cells.append(cell(100 * np.array([run[column] for run in runs])))
        lines.append(f'| {name} | ' + ' | '.join(cells) + f' | {len(runs)} |')
    return '\n'.join(lines)


def cell(values: np.ndarray) -> str:
    """Mean ± standard deviation (ddof 1); the mean alone for one run."""
    return f'{values.mean():.1f}' + (f' ± {values.std(ddof=1):.1f}' if len(values) > 1 else '')


def lead(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Difference of means ± its standard error, from the runs of both."""
    error = np.sqrt(sum(x.var(ddof=1) / len(x) for x in (ours, theirs) if len(x) > 1))
    return f'{ours.mean() - theirs.mean():+.1f}' + (f' ± {error:.1f}' if error else '')


def summary(rows: dict[str, list[dict[str, float]]], methods: list[str], column: str) -> str:
    """One line a method: its score, those of its controls, and its lead over each with the standard error."""
    opponents = {'untrained': ', untrained encoder', 'shuffled pairs': ', shuffled pairs'}

    def scores(name: str) -> np.ndarray:
        return 100 * np.array([run[column] for run in rows.get(name, [])])

    heads = ['method', 'trained', *opponents, *(f'over {name}' for name in (*opponents, 'raw pixels')), 'seeds']
    lines = ['| ' + ' | '.join(heads) + ' |', '| --- ' * len(heads) + '|']
    for method in methods:
        controls = [scores(method + suffix) for suffix in opponents.values()]
        if not rows.get(method) or not all(map(len, controls)):
            continue
        ours = scores(method)
        cells = [cell(x) for x in (ours, *controls)] + [lead(ours, x) for x in (*controls, scores('raw pixels'))]
        lines.append(f'| {method} | ' + ' | '.join(cells) + f' | {len(ours)} |')
    return '\n'.join(lines)


def command(folder: str) -> Callable[[], None]:
    """The command of one table."""

    def main(arguments: list[str]) -> int:
        usage = f'usage: python -m experiments.tables.{folder} --workdir=FOLDER [--methods=a,b] [--seeds=1,2,3]'
        known = sorted(f.stem for f in (EXPERIMENTS / folder).glob('[!_]*.py') if f.stem != 'common')
        options = {'workdir': None, 'methods': ','.join(known), 'seeds': '1,2,3'}
        values, overrides = cli.parse(arguments, options, usage)
        methods = values['methods'].split(',')
        for method in methods:
            if method not in known:
                raise errors.UserError(f'--methods: {method!r} is unknown{errors.nearest(method, known)}')
        seeds = [cli.integer('seeds', s) for s in values['seeds'].split(',')]
        cli.prepare()
        workdir = Path(values['workdir'])
        run_all(folder, workdir, methods, seeds, overrides)
        rows = collect(workdir, methods)
        column = next((c for c in ('linear_10', 'linear') if c in next(iter(rows.values()))[0]), 'knn')
        text = f'{summary(rows, methods, column)}\n\n{markdown(rows)}\n'
        (workdir / 'table.md').write_text(text)
        print(text)
        return 0

    return errors.command(main)
