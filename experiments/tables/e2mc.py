"""docs/e2mc.md: finished runs on digits, continued with E2MC and without, probed before and after.

    python -m experiments.tables.e2mc --workdir=runs/e2mc [--methods=vicreg] [--seeds=1,2,3] [--runs=runs/digits]

The configs are `continued/digits_<method>_e2mc`, ten epochs; without E2MC they are the same with its two weights at 0,
on the same batches and views. --runs holds the finished runs of `experiments.tables.digits`; what it lacks is trained
first. The numbers go to e2mc.json of the workdir. Two CPU cores: a minute or two a run, half a minute each way it is
continued.
"""

import json
from pathlib import Path

import numpy as np
from selfsup import cli, errors

from . import table

USAGE = __doc__.split('\n\n')[1]
METHODS = ('vicreg', 'simsiam')
WAYS = {'before': 'before', 'without': 'continued', 'e2mc': 'continued with E2MC'}
OFF = [f'method.regularisers.e2mc.{weight}_weight=0.0' for weight in ('entropy', 'covariance')]
SCORES = ('knn', 'linear_1', 'linear_10', 'linear')
RANK = 'rankme of test features'
Recorded = dict[str, dict[str, dict[str, dict[str, float]]]]  # method -> seed -> way -> score -> value


def numbers(run: Path) -> dict[str, float]:
    """Scores of a finished run's encoder, and the RankMe of its test features."""
    found = json.loads((run / 'results.json').read_text())
    if 'trained' not in found['scores'] or found['ranks'][RANK] is None:
        raise errors.UserError(
            f'{run}: results.json has no scores of the encoder, or no finite RankMe; see its report.md'
        )
    kept = {name: found['scores']['trained'][name] for name in SCORES} | {'rank': found['ranks'][RANK]}
    return {name: round(float(value), 5) for name, value in kept.items()}


def one_seed(
    seed: int, methods: list[str], workdir: Path, runs: Path, overrides: list[str], recorded: Recorded
) -> None:
    """Trains what is not there yet, and adds the numbers of a seed."""
    for method in methods:
        table.run_all('digits', runs, [method], [seed], overrides, controls=('none',))
        before, config = runs / method / 'none' / f'seed{seed}', f'digits_{method}_e2mc'
        found = {'before': numbers(before)}
        for way, fields in {'without': OFF, 'e2mc': []}.items():
            start = f'init_from={before.resolve()}'
            table.run_all(
                'continued', workdir / way, [config], [seed], [*overrides, start, *fields], controls=('none',)
            )
            found[way] = numbers(workdir / way / config / 'none' / f'seed{seed}')
        recorded.setdefault(method, {})[str(seed)] = found


def markdown(recorded: Recorded) -> str:
    """Per cent, mean ± standard deviation over seeds, and what E2MC adds to the run continued without it."""
    from selfsup.engine.report import heading

    columns, heads = (*SCORES, 'rank'), ['', *map(heading, SCORES), 'RankMe of features']
    lines = [f'| {" | ".join(heads)} |', '| --- ' + '| ---: ' * (len(heads) - 1) + '|']
    for method, seeds in recorded.items():
        found = {
            way: np.array(
                [[run[way][score] * (1 if score == 'rank' else 100) for run in seeds.values()] for score in columns]
            )
            for way in WAYS
        }  # [scores, seeds]
        rows = [(what, [table.cell(values) for values in found[way]]) for way, what in WAYS.items()]
        gains = [table.cell(values) for values in found['e2mc'] - found['without']]
        rows.append(('what E2MC adds, seed by seed', [gain if gain[0] == '-' else f'+{gain}' for gain in gains]))
        lines += [f'| {table.named(method)}, {what} | {" | ".join(cells)} |' for what, cells in rows]
    seeds = sorted({seed for of in recorded.values() for seed in of})
    return '\n'.join([*lines, '', f'Seed{"s" * (len(seeds) > 1)} {", ".join(seeds)}.', ''])


def main(arguments: list[str]) -> int:
    options = {'workdir': None, 'methods': ','.join(METHODS), 'seeds': '1,2,3', 'runs': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    methods = table.chosen(values['methods'], list(METHODS))
    seeds = [cli.integer('seeds', text) for text in values['seeds'].split(',')]
    cli.prepare()
    workdir = Path(values['workdir'])
    runs, file = Path(values['runs'] or workdir / 'before'), workdir / 'e2mc.json'

    def add(seed: int, recorded: Recorded) -> None:
        one_seed(seed, methods, workdir, runs, overrides, recorded)
        file.write_text(json.dumps(recorded, indent=1) + '\n')

    table.seed_by_seed(file, seeds, add, markdown)
    return 0


if __name__ == '__main__':
    errors.command(main)()
