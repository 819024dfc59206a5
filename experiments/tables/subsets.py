"""docs/subsets.md: SimCLR on a part of digits, chosen in five ways, by share kept.

    python -m experiments.tables.subsets --workdir=runs/subsets [--seeds=1] [--shares=0.1,0.2,0.5]

Every part is trained on for the same number of steps; the encoder that chooses, and the two halves that say what was
memorised, are trained first with the same seed. Every run leaves its line in subsets.json of the workdir, and the
command goes on with what is missing. Two shared CPU cores: some ten minutes of processor time a seed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors, evals
from selfsup.data import subsets as files
from selfsup.evals.subsets import highest
from selfsup.files import write_arrays

from . import table, trained

USAGE = __doc__.split('\n\n')[1]
STEPS, BATCH, LABELS, CLUSTERS, LEVELS = 200, 64, 10, 20, (160, 40, 10)
WAYS = {
    'random': 'random rows, the control',
    'balanced': f'as many of each of {CLUSTERS} clusters',
    'hierarchical': f'as many of each cluster of clusters ({", ".join(map(str, LEVELS))})',
    'sas': f'SAS over {CLUSTERS} clusters: most alike the others of their cluster',
    'memorised': 'largest SSLMem',
}
ALL = 'all rows'
Recorded = dict[str, dict[str, dict[str, dict[str, float]]]]  # seed -> share -> way -> number -> value


def resolved(seed: int, rows: int, subset: str = '') -> Any:
    """SimCLR on so many rows for about :data:`STEPS` steps."""
    fields = [f'seed={seed}', f'data.batch_size={BATCH}', f'data.subset={subset}']
    held = table.load('digits', 'simclr', fields).data.holdout
    epochs = max(round(STEPS / max(int(rows * (1 - held)) // BATCH, 1)), 1)
    schedule = [f'train.epochs={epochs}', f'optimizer.warmup_epochs={max(epochs // 10, 1)}']
    return table.load('digits', 'simclr', [*fields, *schedule])


def scored(run: trained.Trained) -> dict[str, float]:
    """Accuracy with ten labels per class and with all, of probes that learn from all rows."""
    found = evals.linear_probe(*trained.outputs(run), label_counts=(LABELS,))
    return {name: round(float(value), 5) for name, value in found.items()} | {'rows': len(run.run.data.train)}


def chooser(features: np.ndarray, memory: np.ndarray, seed: int) -> Callable[[str, float], np.ndarray]:
    """`(way, share) ->` numbers of the rows that a way keeps; clusters are found once."""
    tree = evals.latent_tree(features, LEVELS, seed=seed)
    flat = evals.latent_classes(features, CLUSTERS, seed=seed)

    def kept(way: str, share: float) -> np.ndarray:
        if way == 'memorised':
            return highest(memory, share)
        classes = tree if way == 'hierarchical' else flat
        return evals.subset(features, classes, share=share, by=way, seed=seed)

    return kept


def one_seed(seed: int, shares: list[float], workdir: Path, recorded: Recorded) -> None:
    """Fills in what is missing of a seed, and writes it after every run."""
    from selfsup.engine import build, memorised

    mine = recorded.setdefault(str(seed), {})
    missing = [(s, way) for s in shares for way in WAYS if way not in mine.get(f'{s:g}', {})]
    if not missing:
        return
    whole, _ = build.training_set(resolved(seed, 1))

    def written(name: str, rows: np.ndarray) -> str:
        file = workdir / f'{name}-{seed}.npz'
        write_arrays(file, files.arrays_of(whole, rows))
        return str(file)

    first = trained.train(resolved(seed, len(whole)))
    mine.setdefault('1', {})[ALL] = scored(first)
    features = first.encoder(first.run.data.labelled.images())
    half = evals.subset(features, np.zeros(len(whole), int), share=0.5, by='random', seed=seed)
    parts = {'half': half, 'rest': np.setdiff1d(np.arange(len(whole)), half)}
    halves = [trained.train(resolved(seed, len(rows), written(name, rows))).encoder for name, rows in parts.items()]
    kept = chooser(features, memorised.scores(*halves)[1], seed)
    for share, way in missing:
        rows = kept(way, share)
        run = trained.train(resolved(seed, len(rows), written(f'{way}-{share:g}', rows)))
        sizes = np.bincount(whole.labels[rows], minlength=whole.num_classes)
        mine.setdefault(f'{share:g}', {})[way] = scored(run) | {
            'smallest': int(sizes.min()),
            'largest': int(sizes.max()),
        }
        (workdir / 'subsets.json').write_text(as_json(recorded))
        print(f'seed {seed}, {share:g} by {way}: {mine[f"{share:g}"][way]}', flush=True)


def as_json(recorded: Recorded) -> str:
    """One line a seed and share."""
    lines = [
        f'{json.dumps(seed)}: {{\n'
        + ',\n'.join(f' {json.dumps(s)}: {json.dumps(ways)}' for s, ways in of.items())
        + '\n}'
        for seed, of in recorded.items()
    ]
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def markdown(recorded: Recorded) -> str:
    """Ten-label accuracy, mean ± standard deviation over seeds in per cent; and the lead over random rows."""
    shares = sorted({float(s) for of in recorded.values() for s in of} - {1.0})
    heads = ['rows kept by', *(f'{100 * share:g} %' for share in shares)]
    lines = [f'| {" | ".join(heads)} |', '| --- ' + '| ---: ' * len(shares) + '|']

    def scores(way: str, share: float) -> np.ndarray:
        of = [seed.get(f'{share:g}', {}) for seed in recorded.values()]
        return 100 * np.array([ways[way][f'linear_{LABELS}'] for ways in of if way in ways])

    for way, what in WAYS.items():
        cells = []
        for share in shares:
            ours, control = scores(way, share), scores('random', share)
            lead = '' if way == 'random' or not len(ours) else f' ({table.lead(ours, control)})'
            cells.append(f'{table.cell(ours)}{lead}')
        lines.append(f'| {what} | {" | ".join(cells)} |')
    whole = 100 * np.array([of['1'][ALL][f'linear_{LABELS}'] for of in recorded.values() if '1' in of])
    return '\n'.join([*lines, '', f'All rows: {table.cell(whole)}. Seeds {", ".join(recorded)}.', ''])


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'workdir': None, 'seeds': '1', 'shares': '0.1,0.2,0.5'}, USAGE)
    seeds = [cli.integer('seeds', text) for text in values['seeds'].split(',')]
    shares = [cli.positive('shares', text) for text in values['shares'].split(',')]
    if max(shares) >= 1:
        raise errors.UserError(f'--shares={values["shares"]} must be below 1')
    cli.prepare()
    workdir = Path(values['workdir'])
    table.seed_by_seed(
        workdir / 'subsets.json', seeds, lambda seed, recorded: one_seed(seed, shares, workdir, recorded), markdown
    )
    return 0


if __name__ == '__main__':
    errors.command(main)()
