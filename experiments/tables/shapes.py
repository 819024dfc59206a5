"""The table of docs/equivariance.md: what features keep of the known factors of rendered sprites, over seeds.

    python -m experiments.tables.shapes --workdir=runs/shapes [--methods=care,sie] [--seeds=1,2,3]
    python -m experiments.tables.shapes --workdir=runs/shapes --record=docs/shapes.json

Two CPU cores: one to four minutes a run, of which there are two a method and seed (with its control). Finished runs are
kept, so the command can be stopped and repeated. --controls=none trains no control.
--record writes the finished runs to its file, and trains nothing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors
from selfsup.evals.factors import linear_r2
from selfsup.files import write_json

from . import table

FOLDER = 'shapes'
PROBED = 'shapes:6000'  # images whose factors are read; a probe of 128 numbers needs more than the runs train on
FACTORS = ('shape', 'colour', 'size', 'angle', 'row', 'column')
COLUMNS = {'linear_10': 'linear, 10 labels/class', **{f'r2_{name}': name for name in FACTORS}}


def measure(place: Path) -> None:
    """Writes `measured.json` in the folder of a finished run: R² of the factors.

    The untrained encoder is measured where there is no control, and pixels in one run of the table.
    """
    from selfsup.engine import encoder, evaluations, factor_evals, untrained

    file = place / 'measured.json'
    if file.exists():
        return
    trained = encoder.load(str(place))
    data = evaluations.evaluated_parts(trained.config, PROBED)
    scores: dict[str, dict[str, float]] = {}
    others = (json.loads(other.read_text()) for other in place.parents[2].glob('*/*/*/measured.json'))
    with_pixels = not any('pixels' in other['scores'] for other in others)
    encoders = {'trained': trained}
    if trained.config.control == 'none':
        encoders['untrained'] = untrained.of_encoder(trained, data['train'])
    for name, one in encoders.items():
        sets, pixels, known = factor_evals.encoded_with_factors(one, data)
        scores[name] = of_rows(sets[0].features, sets[1].features, known)
        if with_pixels and name == 'trained':
            scores['pixels'] = of_rows(*pixels, known)
    write_json(file, {'scores': scores})


def of_rows(train: np.ndarray, test: np.ndarray, known: Any) -> dict[str, float]:
    """R² of each factor, from the rows of train and of test."""
    return {f'r2_{factor}': value for factor, value in linear_r2(train, test, known).items()}


def markdown(recorded: table.Recorded) -> str:
    """A row for each method and its controls: mean ± deviation over seeds, in per cent."""
    if not recorded:
        return 'Not run yet.\n'
    lines = [f'| | {" | ".join(COLUMNS.values())} | seeds |', f'| --- {"| ---: " * (len(COLUMNS) + 1)}|']
    for name, runs in table.rows(recorded).items():
        cells = [table.values(runs, column) for column in COLUMNS]
        lines.append(f'| {name} | {" | ".join(map(table.cell, cells))} | {len(runs)} |')
    return '\n'.join(lines) + '\n'


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.shapes --workdir=FOLDER [--methods=a,b] [--seeds=1,2,3] '
        '[--controls=none] [--record=FILE.json] [--config.field=value]'
    )
    known = table.configs(FOLDER)
    options: cli.Options = {'workdir': None, 'methods': ','.join(known), 'seeds': '1,2,3', 'controls': '', 'record': ''}
    values, overrides = cli.parse(arguments, options, usage)
    methods, workdir = table.chosen(values['methods'], known), Path(values['workdir'])
    seeds = [cli.integer('seeds', seed) for seed in values['seeds'].split(',')]
    if values['record']:
        Path(values['record']).write_text(table.as_json(table.collect(workdir, methods)))
        return 0
    cli.prepare()
    controls = tuple(given for given in values['controls'].split(',') if given)
    table.run_all(FOLDER, workdir, methods, seeds, overrides, controls=controls, finish=measure)
    print(markdown(table.collect(workdir, methods)))
    return 0


if __name__ == '__main__':
    errors.command(main)()
