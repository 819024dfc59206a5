"""What a method's parts are for: ablations of the papers repeated on digits, the paper's column beside ours.

    python -m experiments.tables.ablations --workdir=runs/ablations [--tables=vicreg_terms,byol_parts] [--seeds=1,2,3]

Rows that differ in values alone are members of one program. Which rows should differ at this scale is declared with
each table (`shows`), before it is run; only that is asserted, the rest is reported. Every seed of a table leaves a
file, and the command goes on with what is missing.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from selfsup import cli, errors
from selfsup.methods import Method

from . import table
from .collapse import without_predictor
from .label_free_selection import COVARIANCE, INVARIANCE, VARIANCE, probed, target

EPOCHS = 40
SCORES = ('linear_10', 'knn')
Scores = dict[str, dict[str, dict[str, float]]]  # seed -> row -> score -> value in [0, 1]


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      paper: ImageNet top-1 of the paper's row, in its own words.
      values: fields of the config that are values of one program.
      overrides, change: what makes the row a program of its own.
    """

    paper: str
    values: dict[str, float] | None = None
    overrides: tuple[str, ...] = ()
    change: Callable[[Method], Method] = lambda method: method


class Ablation(NamedTuple):
    """A table of a paper.

    Attributes:
      says: what is taken away, and where the paper has it.
      method: config of experiments/digits.
      rows: name -> row; the first is the method as it is.
      shows: pairs (better, worse) of rows that are expected to differ at this scale, by the first of SCORES.
    """

    says: str
    method: str
    rows: dict[str, Row]
    shows: tuple[tuple[str, str], ...]


def weights(invariance: float, variance: float, covariance: float) -> dict[str, float]:
    """VICReg's λ, μ and ν."""
    return {INVARIANCE: invariance, VARIANCE: variance, COVARIANCE: covariance}


def still(momentum: float) -> tuple[str, ...]:
    """A constant momentum of a target network, as overrides."""
    return tuple(f'{field}={value}' for field, value in target(momentum).items())


ALL, NEITHER = 'as it is', 'neither'
ABLATIONS = {
    'barlow_terms': Ablation(
        'the terms of Barlow Twins (Zbontar et al. 2021, Table 5, 300 epochs)',
        'barlow_twins',
        {
            ALL: Row('71.4'),
            'on-diagonal term alone': Row('57.3', {'method.lambd': 0.0}),
            # The weight of the other term is a millionth, which the optimiser cannot see.
            'off-diagonal term alone': Row('0.1', {'method.scale': 1e-6, 'method.lambd': 5.1e3}),
        },
        ((ALL, 'off-diagonal term alone'),),
    ),
    'byol_momentum': Ablation(
        "the momentum of BYOL's target, constant (Grill et al. 2020, Table 5a, 300 epochs)",
        'byol',
        {
            '0.99': Row('72.5', target(0.99)),
            '1, a random target': Row('18.8', target(1.0)),
            '0.999': Row('69.8', target(0.999)),
            '0.9': Row('68.4', target(0.9)),
            '0, no target': Row('0.3', target(0.0)),
        },
        (('0.9', '1, a random target'),),
    ),
    'byol_parts': Ablation(
        "BYOL's predictor and target network (Grill et al. 2020, Table 5b, 300 epochs)",
        'byol',
        {
            ALL: Row('72.5'),
            'no predictor': Row('0.2', change=without_predictor),
            'no target network': Row('0.3', overrides=still(0.0)),
            NEITHER: Row('0.1', overrides=still(0.0), change=without_predictor),
        },
        ((ALL, 'no predictor'), (ALL, NEITHER)),
    ),
    'dino_centring': Ablation(
        'centring and sharpening of DINO (Caron et al. 2021, section 5.3: without either, collapse)',
        'dino',
        {
            ALL: Row('no collapse'),
            'no centring': Row('collapse', {'method.centre_momentum': 1.0}),
            'no sharpening': Row('collapse', {'method.teacher_temperature': 1.0}),
            NEITHER: Row('collapse', {'method.centre_momentum': 1.0, 'method.teacher_temperature': 1.0}),
        },
        ((ALL, 'no sharpening'),),
    ),
    'simsiam_parts': Ablation(
        "SimSiam's stop-gradient and predictor (Chen and He 2021, Figure 2 and Table 1, 100 epochs)",
        'simsiam',
        {
            ALL: Row('68.1'),
            'no stop-gradient': Row('0.1', overrides=('method.stop_gradient=False',)),
            'no predictor': Row('0.1', change=without_predictor),
            'predictor as initialised': Row('1.5', overrides=('optimizer.groups.predictor.freeze_steps=1000000',)),
            'predictor with a decaying rate': Row('67.7', overrides=('optimizer.groups.predictor.schedule=base',)),
        },
        ((ALL, 'no stop-gradient'), (ALL, 'no predictor')),
    ),
    'swav_iterations': Ablation(
        'iterations of Sinkhorn in SwAV (Caron et al. 2020, section 3.1: three are enough)',
        'swav',
        {
            '3': Row('–'),
            '0, a softmax': Row('–', overrides=('method.iterations=0',)),
            '1': Row('–', overrides=('method.iterations=1',)),
            '10': Row('–', overrides=('method.iterations=10',)),
        },
        (('3', '0, a softmax'),),
    ),
    'vicreg_terms': Ablation(
        "the weights of VICReg's invariance, variance and covariance (Bardes et al. 2022, Table 7, 100 epochs)",
        'vicreg',
        {
            '25, 25, 1': Row('68.6', weights(25, 25, 1)),
            '1, 0, 0': Row('collapse', weights(1, 0, 0)),
            '25, 0, 1': Row('collapse', weights(25, 0, 1)),
            '0, 25, 1': Row('collapse', weights(0, 25, 1)),
            '1, 1, 1': Row('collapse', weights(1, 1, 1)),
            '1, 10, 1': Row('collapse', weights(1, 10, 1)),
            '10, 1, 1': Row('collapse', weights(10, 1, 1)),
            '1, 1, 0': Row('57.5', weights(1, 1, 0)),
            '10, 10, 1': Row('68.2', weights(10, 10, 1)),
        },
        (('25, 25, 1', '1, 0, 0'), ('25, 25, 1', '25, 0, 1'), ('25, 25, 1', '0, 25, 1')),
    ),
}


def programs(rows: dict[str, Row]) -> list[dict[str, Row]]:
    """The rows by program: those without overrides and changes differ in values alone, and are one."""
    found: dict[Any, dict[str, Row]] = {}
    for name, row in rows.items():
        found.setdefault((row.overrides, row.change), {})[name] = row
    return list(found.values())


def one_seed(ablation: Ablation, seed: int, overrides: list[str]) -> dict[str, dict[str, float]]:
    """Trains every row with one seed: its scores, RankMe on held-out images, and whether the alarm was raised."""
    import jax
    from selfsup import evals
    from selfsup.engine import sweep

    found = {}
    for rows in programs(ablation.rows):
        first = next(iter(rows.values()))
        fields = [f'train.epochs={EPOCHS}', *overrides, f'seed={seed}', *first.overrides]
        resolved = table.load('digits', ablation.method, fields)
        out = sweep.train(resolved, [row.values or {} for row in rows.values()], change=first.change)
        monitor = out.run.monitor()
        for name, state in zip(rows, out.states, strict=True):
            features = probed(out, state)
            seen = jax.device_get(monitor(state))
            finite = all(np.isfinite(part.features).all() for part in features)
            # An encoder that is not a number predicts one class, whichever.
            scores = dict.fromkeys(SCORES, 1 / out.run.classes)
            if finite:
                scores = {**evals.knn(*features), **evals.linear_probe(*features, label_counts=(10,))}
            measured = {'rankme': seen['rankme'], 'alarm': seen['alarm/collapsed'], **scores}
            found[name] = {key: round(float(value), 5) for key, value in measured.items()}
    return {name: found[name] for name in ablation.rows}


def values(scores: Scores, row: str, score: str) -> np.ndarray:
    """A score of a row, one a seed."""
    return np.array([rows[row][score] for rows in scores.values()])


def shown(ablation: Ablation, scores: Scores) -> dict[tuple[str, str], bool]:
    """Of each declared pair: whether the first row leads the second by more than two standard errors."""
    found = {}
    for better, worse in ablation.shows:
        text = table.lead(*(100 * values(scores, row, SCORES[0]) for row in (better, worse)))
        difference, _, error = text.partition(' ± ')
        found[better, worse] = float(difference) > 2 * float(error or 'nan')
    return found


def section(ablation: Ablation, record: dict[str, Any]) -> str:
    """One table in Markdown, with what was declared."""
    scores: Scores = record['seeds']
    heads = ('row', 'paper', 'linear, 10 labels/class', 'k-NN', 'RankMe', 'alarm', 'over the first row')
    lines = [f'| {" | ".join(heads)} |', '| --- ' * len(heads) + '|']
    first = next(iter(ablation.rows))
    for name, row in ablation.rows.items():
        percent = [100 * values(scores, name, score) for score in SCORES]
        alarms = values(scores, name, 'alarm')
        cells = (
            name,
            row.paper,
            *(table.cell(value) for value in percent),
            f'{values(scores, name, "rankme").mean():.0f}',
            f'{int(alarms.sum())} of {len(alarms)}',
            '' if name == first else table.lead(percent[0], 100 * values(scores, first, SCORES[0])),
        )
        lines.append(f'| {" | ".join(cells)} |')
    answers = '; '.join(
        f'{better} over {worse}: {"yes" if answer else "no"}'
        for (better, worse), answer in shown(ablation, scores).items()
    )
    setting = (
        f'`{ablation.method}` on digits, {record["epochs"]} epochs, seeds {", ".join(scores)}, '
        f'{record["processor"]:.0f} processor seconds on {record["device"]}.'
    )
    title = f'## {ablation.says[0].upper()}{ablation.says[1:]}'
    return f'{title}\n\n{setting}\n\n' + '\n'.join(lines) + f'\n\nDeclared to show: {answers}.\n'


def markdown(recorded: dict[str, Any]) -> str:
    """Every recorded table, in the order of :data:`ABLATIONS`, and the names of those that are not."""
    missing = [name for name in ABLATIONS if name not in recorded]
    note = f'Not run yet: {", ".join(missing)}.\n' if missing else ''
    return note + '\n'.join(section(ABLATIONS[name], recorded[name]) for name in ABLATIONS if name in recorded)


def collected(workdir: Path, names: list[str]) -> dict[str, Any]:
    """The finished seeds of the tables of a workdir, as docs/ablations.json has them."""
    found = {}
    for name in names:
        runs = [json.loads(file.read_text()) for file in sorted((workdir / name).glob('seed*.json'))]
        if runs:
            found[name] = {
                'epochs': runs[0]['epochs'],
                'device': runs[0]['device'],
                'processor': round(sum(run['processor'] for run in runs)),
                'seeds': {str(run['seed']): run['rows'] for run in runs},
            }
    return found


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.ablations --workdir=FOLDER [--tables=a,b] [--seeds=1,2,3] '
        '[--config.field=value]'
    )
    given, overrides = cli.parse(arguments, {'workdir': None, 'tables': ','.join(ABLATIONS), 'seeds': '1,2,3'}, usage)
    names = given['tables'].split(',')
    for name in names:
        if name not in ABLATIONS:
            raise errors.UserError(f'--tables: {name!r} is unknown{errors.nearest(name, ABLATIONS)}')
    seeds = [cli.integer('seeds', seed) for seed in given['seeds'].split(',')]
    cli.prepare()
    import jax

    workdir = Path(given['workdir'])
    for seed in seeds:
        for name in names:
            file = workdir / name / f'seed{seed}.json'
            if file.exists():
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            begun = time.process_time()
            rows = one_seed(ABLATIONS[name], seed, overrides)
            epochs = table.load('digits', ABLATIONS[name].method, [f'train.epochs={EPOCHS}', *overrides]).train.epochs
            run = {'seed': seed, 'epochs': epochs, 'device': jax.devices()[0].platform, 'rows': rows}
            file.write_text(json.dumps({**run, 'processor': round(time.process_time() - begun)}) + '\n')
            print(
                f'{name}, seed {seed}: {json.dumps({row: told[SCORES[0]] for row, told in rows.items()})}', flush=True
            )
    recorded = collected(workdir, list(ABLATIONS))
    (workdir / 'table.json').write_text(as_json(recorded))
    print(markdown(recorded))
    return 0


def as_json(recorded: dict[str, Any]) -> str:
    """One line a table."""
    return '{\n' + ',\n'.join(f'{json.dumps(name)}: {json.dumps(one)}' for name, one in recorded.items()) + '\n}\n'


if __name__ == '__main__':
    errors.command(main)()
