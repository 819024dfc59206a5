"""The table of docs/reduction.md: TLDR beside PCA and whitened PCA, on digits and on features of an encoder.

    selfsup train digits/simclr --workdir=runs/simclr && selfsup embed --workdir=runs/simclr --out=simclr.npz
    python -m experiments.tables.reduction --recorded=docs/reduction.json --features=simclr.npz

Fits that the file (by default reduction.json of `--workdir`) holds already are kept, so that the command can be stopped
and repeated. Half a minute each.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors
from selfsup.files import read_arrays

from . import table

USAGE = __doc__.split('\n\n')[1]
MARKS = ('<!-- reductions, written by experiments.tables.reduction -->\n', '<!-- end of reductions -->\n')
PAGE = table.EXPERIMENTS.parent / 'docs' / 'reduction.md'
DIMS = (8, 16, 32)
SEEDS = (0, 1, 2)
# What suits a thousand rows; five steps an epoch are too few for the authors' learning rate of 0.2.
FEW_ROWS: dict[str, Any] = {'projector': (256, 256, 256), 'epochs': 200, 'batch_size': 256, 'learning_rate': 2.0}
COLUMNS = ('neighbour_recall', 'mAP', 'recall@1', 'knn')
Recorded = dict[str, dict[str, float]]


def sets(features: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (train, test), each features and labels."""
    from selfsup.data.sources import open_source
    from selfsup.evals import Features

    train, test = (
        Features(part.images().reshape(len(part), -1).astype(np.float32), part.labels) for part in open_source('digits')
    )
    found: dict[str, tuple[Any, Any]] = {'pixels': (train, test)}
    if features:
        arrays = read_arrays(Path(features), f'--features={features}')
        train, test = (Features(arrays[f'{part}_features'], arrays[f'{part}_labels']) for part in ('train', 'test'))
        found['SimCLR'] = (train, test)
    return found


def fits(rows: np.ndarray, dim: int) -> dict[str, Callable[[], Any]]:
    """Name -> a fit on rows; the seeds of TLDR by their number."""
    from selfsup import reduction

    def tldr(seed: int, **changes: Any) -> Callable[[], Any]:
        return lambda: reduction.tldr(rows, dim, seed=seed, **{**FEW_ROWS, **changes})

    found: dict[str, Callable[[], Any]] = {
        'PCA': lambda: reduction.pca(rows, dim),
        'whitened PCA': lambda: reduction.pca(rows, dim, whiten=True),
    }
    for seed in SEEDS:
        found[f'TLDR, seed {seed}'] = tldr(seed)
        found[f'TLDR with a hidden layer of 256, seed {seed}'] = tldr(seed, hidden=(256,))
    return found


def scores(train: Any, test: Any, reducer: Any | None) -> dict[str, float]:
    from selfsup import reduction

    before = (train.features, test.features)
    after = before if reducer is None else (reduction.apply(reducer, before[0]), reduction.apply(reducer, before[1]))
    return {k: round(v, 5) for k, v in reduction.judged(before, after, (train.labels, test.labels)).items()}


def markdown(recorded: Recorded) -> str:
    """One line a set, width and reduction; mean ± deviation over the seeds."""
    heads = ('features', 'width', 'reduction', *(c.replace('_', ' ') for c in COLUMNS))
    lines = ['| ' + ' | '.join(heads) + ' |', '| --- | ---: | --- ' + '| ---: ' * len(COLUMNS) + '|']
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for key, found in recorded.items():
        name, width, kind = key.split(' / ')
        groups.setdefault((name, width, kind.split(', seed')[0]), []).append(found)
    for names, runs in groups.items():
        cells = [table.cell(100 * np.array([run[column] for run in runs])) for column in COLUMNS]
        lines.append('| ' + ' | '.join((*names, *cells)) + ' |')
    return '\n'.join(lines) + '\n'


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'recorded': '', 'workdir': 'runs/tables/reduction', 'features': ''}, USAGE)
    cli.prepare()
    file = Path(values['recorded'] or Path(values['workdir']) / 'reduction.json')
    file.parent.mkdir(parents=True, exist_ok=True)
    recorded: Recorded = json.loads(file.read_text()) if file.exists() else {}
    ordered: Recorded = {}
    for name, (train, test) in sets(values['features']).items():
        jobs: dict[str, Callable[[], Any]] = {f'{name} / {train.features.shape[1]} / none': lambda: None}
        for dim in DIMS:
            jobs |= {f'{name} / {dim} / {kind}': fit for kind, fit in fits(train.features, dim).items()}
        for key, fit in jobs.items():
            ordered[key] = recorded.get(key) or scores(train, test, fit())
            lines = [f'{json.dumps(k)}: {json.dumps(found)}' for k, found in (recorded | ordered).items()]
            file.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
            print(key, ordered[key], flush=True)
    if PAGE.exists() and file.resolve() == PAGE.with_suffix('.json'):
        before, rest = PAGE.read_text().split(MARKS[0])
        PAGE.write_text(f'{before}{MARKS[0]}{markdown(ordered)}{MARKS[1]}{rest.split(MARKS[1])[1]}')
    print(markdown(ordered))
    return 0


if __name__ == '__main__':
    errors.command(main)()
