"""docs/concatenation.md: encoders of several seeds side by side, against one of their width, on own and on new classes.

    python -m experiments.tables.concatenation --workdir=runs/concatenation [--seeds=1,2,3]

SimCLR trains on the digits 0 to 4 alone; the probe tells those apart (own), or 5 to 9 (new). The
numbers go to concatenation.json of the workdir. Two shared CPU cores: some four minutes of processor time.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors, evals
from selfsup.data import subsets as files
from selfsup.evals.concatenated import joined, scores
from selfsup.files import write_arrays

from . import table, trained

USAGE = __doc__.split('\n\n')[1]
EPOCHS, BATCH, OWN = 40, 128, 5  # digits below OWN are trained on
WIDTHS = (32, 64, 128)
TASKS = {'own': '0 to 4, trained on', 'new': '5 to 9, new'}
SCORES = {'few_10_': '10 labels per class', '': 'all labels', 'knn_': 'k-NN'}
Numbers = dict[str, float]


def resolved(seed: int, file: str, times: int = 1) -> Any:
    """SimCLR on the rows of a file, the last layer so many times as wide."""
    widths = (*WIDTHS[:-1], WIDTHS[-1] * times)
    fields = [
        f'seed={seed}',
        f'train.epochs={EPOCHS}',
        f'data.batch_size={BATCH}',
        f'data.subset={file}',
        f'optimizer.warmup_epochs={EPOCHS // 10}',
    ]
    return table.load('digits', 'simclr', [*fields, f'model.widths={widths}'])


def parts(run: trained.Trained) -> dict[str, tuple[evals.Features, evals.Features]]:
    """Train and test features of each task."""
    both = trained.outputs(run)

    def of(part: evals.Features, own: bool) -> evals.Features:
        rows = (part.labels < OWN) == own
        return evals.Features(part.features[rows], part.labels[rows])

    return {task: (of(both[0], task == 'own'), of(both[1], task == 'own')) for task in TASKS}


def measured(seeds: list[int], workdir: Path) -> dict[str, dict[str, Numbers]]:
    """Task -> row -> scores: `alone` (mean over the seeds), `joined <n>`, `wide <n>` (the first seed), and `cka`."""
    from selfsup.engine import build

    whole, _ = build.training_set(table.load('digits', 'simclr'))
    file = str(workdir / 'own.npz')
    write_arrays(Path(file), files.arrays_of(whole, np.flatnonzero(whole.labels < OWN)))
    narrow = [parts(trained.train(resolved(seed, file))) for seed in seeds]
    wide = {n: parts(trained.train(resolved(seeds[0], file, n))) for n in (2, len(seeds))}
    found = {}
    for task in TASKS:
        together = evals.concatenated([of[task] for of in narrow])
        rows = {'alone': {name: together[f'concatenated_{name}alone'] for name in SCORES}}
        for n in range(2, len(seeds) + 1):
            rows[f'joined {n}'] = {name: together[f'concatenated_{name}{n}'] for name in SCORES}
        for n, of in wide.items():
            rows[f'wide {n}'] = scores(*(joined([part]) for part in of[task]))
        rows['cka'] = {'cka': together['concatenated_cka']}
        found[task] = {row: {k: round(float(v), 5) for k, v in numbers.items()} for row, numbers in rows.items()}
    return found


def markdown(recorded: dict[str, Any]) -> str:
    """Accuracy in per cent, a row for each encoder or group of encoders."""
    count = len(recorded['seeds'])
    names = {'alone': f'one encoder, mean of {count} seeds'}
    names |= {f'joined {n}': f'{n} seeds side by side' for n in range(2, count + 1)}
    names |= {f'wide {n}': f'one encoder, last layer {n} times as wide' for n in (2, count)}
    heads = ['features', 'width', *(f'{task}: {score}' for task in TASKS.values() for score in SCORES.values())]
    lines = [f'| {" | ".join(heads)} |', '| --- ' + '| ---: ' * (len(heads) - 1) + '|']
    for row, name in names.items():
        times = 1 if row == 'alone' else int(row.split()[1])
        cells = [f'{100 * recorded["tasks"][task][row][score]:.1f}' for task in TASKS for score in SCORES]
        lines.append(f'| {name} | {WIDTHS[-1] * times} | {" | ".join(cells)} |')
    alike = ', '.join(f'{recorded["tasks"][task]["cka"]["cka"]:.2f} on {what}' for task, what in TASKS.items())
    return '\n'.join(
        [*lines, '', f'Mean CKA of two seeds: {alike}. Seeds {", ".join(map(str, recorded["seeds"]))}.', '']
    )


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'workdir': None, 'seeds': '1,2,3'}, USAGE)
    seeds = [cli.integer('seeds', text) for text in values['seeds'].split(',')]
    if len({*seeds}) < 3:
        raise errors.UserError(f'--seeds={values["seeds"]} must name three or more different seeds')
    cli.prepare()
    workdir = Path(values['workdir'])
    workdir.mkdir(parents=True, exist_ok=True)
    recorded = {'seeds': seeds, 'tasks': measured(seeds, workdir)}
    (workdir / 'concatenation.json').write_text(json.dumps(recorded, indent=1) + '\n')
    print(markdown(recorded))
    return 0


if __name__ == '__main__':
    errors.command(main)()
