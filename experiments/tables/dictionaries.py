"""Every sparse autoencoder of experiments/dictionaries over seeds: error, sparsity, stability, probes, controls.

    python -m experiments.tables.dictionaries [--methods=topk,gated] [--seeds=0,1,2] [--workdir=FOLDER]
    python -m experiments.tables.dictionaries --features=FILE.npz [--times=4] [--active=8] [--epochs=6] [...]

Digits as vectors of 64 numbers, 256 atoms; weights of penalties were chosen on seed 0 so that about 8 units of a test
row are on. Two CPU cores: about half a minute a run. With --features, a file of selfsup embed, every method gets
--times as many units as the features have numbers, what decides how many of them are on is searched for on the first
seed until about --active units of a training row are, and the seeds train side by side. A method's stability is the
mean cosine of matched atoms over pairs of seeds.
"""

import itertools
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, dictionaries, errors, evals
from selfsup.files import write_json

from . import equal_l0, table
from .trained import Trained, train

COLUMNS = {
    'explained_variance': 'R² of test',
    'l0': 'L0',
    'dead': 'dead',
    'dense': 'dense',
    'probe_codes': 'probe of codes',
    'probe_reconstructions': 'of reconstructions',
}
CONTROLS = ('pca', 'nmf', 'random')
# Training rows whose codes the probes learn from, and on which L0 is searched for.
PROBED = 5_000


def names() -> list[str]:
    """Configs of the table: all that train on the same vectors."""
    return [name for name in table.configs('dictionaries') if 'images' not in name]


def coded(trained: Trained, part: str) -> evals.Coded:
    """Rows of `train` or `test` with their codes; of train at most :data:`PROBED`, spread over all."""
    from selfsup.engine import dictionary_evals

    source = trained.run.data.test if part == 'test' else trained.run.data.labelled
    if part == 'train' and len(source) > PROBED:
        source = source.select(np.random.default_rng(0).permutation(len(source))[:PROBED], 'probed')
    return dictionary_evals.coded(trained.encoder, source)


def measure(trained: Trained, *, controls: bool = False) -> tuple[dict[str, float], np.ndarray]:
    """The numbers of :func:`selfsup.evals.dictionary`, and the atoms."""
    from selfsup.engine import dictionary_evals

    numbers = evals.dictionary(coded(trained, 'train'), test := coded(trained, 'test'), controls=controls)
    return numbers, dictionary_evals.atoms(trained.encoder, test.codes.shape[1])


def row(name: str, seen: list[dict[str, float]], stable: float | None) -> str:
    """One line: means over seeds, and the deviation of R²."""
    values = {key: [numbers[f'dictionary_{key}'] for numbers in seen] for key in COLUMNS}
    cells = [f'{statistics.fmean(v):.3f}' if key != 'l0' else f'{statistics.fmean(v):.1f}' for key, v in values.items()]
    if len(seen) > 1:
        cells[0] += f' ± {statistics.stdev(values["explained_variance"]):.3f}'
    return f'| `{name}` | ' + ' | '.join(cells) + (f' | {stable:.2f} |' if stable is not None else ' | – |')


HEAD = f'| method | {" | ".join(COLUMNS.values())} | stability |\n| --- |{" ---: |" * (len(COLUMNS) + 1)}'


def of_method(name: str, overrides: list[str], seeds: list[int], target: float | None, *, controls: bool) -> dict:
    """The numbers of one method over seeds: `seeds`, `stability`, and the value that was searched for.

    Args:
      name: of the config.
      overrides: of its fields.
      seeds: of the runs.
      target: L0 wanted; None leaves the config as it is.
      controls: whether PCA, NMF and random atoms are computed, on the first seed.
    """

    def l0(trained: Trained) -> float:
        return float(dictionaries.code_numbers(coded(trained, 'train').codes)['l0'])

    chosen, runs = [], (train(equal_l0.load(name, *overrides, f'seed={seed}')) for seed in seeds)
    if target is not None:
        chosen, runs = equal_l0.trained(name, overrides, seeds, target, l0)
    seen, atoms = zip(*(measure(run, controls=controls and n == 0) for n, run in enumerate(runs)), strict=True)
    signed = name not in ('abs_topk', 'matching_pursuit')
    pairs = [dictionaries.stability(a, b, signed=signed) for a, b in itertools.combinations(atoms, 2)]
    stable = statistics.fmean(pairs) if pairs else None
    print(row(name, list(seen), stable), *chosen, flush=True)
    return {'seeds': {str(s): n for s, n in zip(seeds, seen, strict=True)}, 'stability': stable, 'chosen': chosen}


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.dictionaries [--methods=a,b] [--seeds=0,1,2] [--workdir=FOLDER] '
        '[--features=FILE.npz] [--times=4] [--active=8] [--epochs=6] [--config.field=value]'
    )
    options = {'methods': ','.join(names()), 'seeds': '0,1,2', 'workdir': '', 'features': ''}
    values, overrides = cli.parse(arguments, {**options, 'times': '4', 'active': '8', 'epochs': '6'}, usage)
    seeds = [cli.integer('seeds', seed) for seed in values['seeds'].split(',')]
    times, active, epochs = (cli.integer(field, values[field]) for field in ('times', 'active', 'epochs'))
    for name in values['methods'].split(','):
        if name not in names():
            raise errors.UserError(f'--methods: {name!r} is unknown{errors.nearest(name, names())}')
    cli.prepare()
    recorded: dict[str, Any] = {}
    print(HEAD, flush=True)
    for name in values['methods'].split(','):
        more, target = [], None
        if values['features']:
            more = equal_l0.on_features(name, values['features'], times=times, active=active, epochs=epochs)
            target = active
        recorded[name] = of_method(name, [*more, *overrides], seeds, target, controls=not recorded)
        if values['workdir']:
            workdir = Path(values['workdir'])
            workdir.mkdir(parents=True, exist_ok=True)
            write_json(workdir / 'table.json', recorded)
    first = next(iter(recorded.values()))['seeds'][str(seeds[0])]
    for name in CONTROLS:
        print(f'{name}: R² {first[f"dictionary_explained_variance_{name}"]:.3f}')
    print(f'inputs: probe {first["dictionary_probe_inputs"]:.3f}')
    return 0


if __name__ == '__main__':
    errors.command(main)()
