"""The table of docs/cifar10.md: all of CIFAR-10 with one small network, its controls, few labels, transfer and time.

    python -m experiments.tables.cifar10 --workdir=runs/cifar10 [--methods=simclr] [--seeds=1] [--controls=none]
    python -m experiments.tables.cifar10 --workdir=runs/cifar10 --record=docs/cifar10.json

Two CPU cores: an hour or more a run; a stopped one goes on. --transfer names further sources, such as
digits,tfds:fashion_mnist, whose images are brought to 32 x 32 with three channels. --record adds the finished runs of
the folder to those of its file, and trains nothing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors
from selfsup.files import by_session, read_jsonl, timings, write_json

from . import table

FOLDER = 'cifar10_small'
NEIGHBOURS = {'knn': (20, 0.07), 'knn_200': (200, 0.1)}  # name -> (neighbours, temperature)
COLUMNS = {
    'online': 'online probe',
    'knn': 'k-NN, 20',
    'knn_200': 'k-NN, 200',
    'low_label_1%': 'linear, 1 %',
    'low_label_10%': 'linear, 10 %',
    'linear': 'linear, all',
}
Numbers = dict[str, float]


def of_features(train: Any, test: Any) -> Numbers:
    """k-NN, few labels, the linear probe (C = 1) and RankMe of features and labels."""
    from selfsup import evals

    found: Numbers = {}
    for name, (k, temperature) in NEIGHBOURS.items():
        found[name] = evals.knn(train, test, k=k, temperature=temperature)['knn']
    few = evals.low_label(train, test, label_counts=())
    return {
        **found,
        **{name: value for name, value in few.items() if not name.endswith('_std')},
        'linear': evals.linear_probe(train, test, label_counts=())['linear'],
        'rankme': evals.ranks(train, test)['rankme'],
    }


def of_training(place: Path) -> dict[str, Any]:
    """Clock seconds of the steps, whether the alarm was raised, and the curves of a run's folder."""
    metrics = read_jsonl(place / 'metrics.jsonl')
    seen = [line for line in metrics if 'probe_accuracy' in line]
    return {
        'seconds': round(sum(session[-1]['seconds'] for session in by_session(timings(place / 'timing.jsonl')))),
        'alarm': any(line.get('alarm/collapsed', 0) > 0 for line in seen),
        'curve': [[line['step'], round(line['probe_accuracy'], 4), round(line['rankme_features'], 2)] for line in seen],
    }


def measure(place: Path, transfer: list[str]) -> None:
    """Writes `measured.json` in the folder of a finished run, where it is not there or lacks a transfer.

    The untrained encoder is measured where there is no control.
    """
    from selfsup.engine import encoder, evaluations, images, untrained

    file = place / 'measured.json'
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    missing = [spec for spec in ('', *transfer) if spec not in found.get('sources', ())]
    if not missing:
        return
    trained = encoder.load(str(place))
    own = evaluations.evaluated_parts(trained.config, None)
    encoders = {'trained': trained}
    if trained.config.control == 'none':
        encoders['untrained'] = untrained.of_encoder(trained, own['train'])
    scores = found.setdefault('scores', {name: {} for name in encoders})
    images.set_fields(trained.config, image_size='32', channels='3')
    for spec in missing:
        data = evaluations.evaluated_parts(trained.config, spec) if spec else own
        for name, one in encoders.items():
            numbers = of_features(*(images.features(one, data[part]) for part in ('train', 'test')))
            prefix = f'{label(spec)}:' if spec else ''
            scores[name] |= {f'{prefix}{key}': round(value, 5) for key, value in numbers.items()}
    scores['trained']['online'] = of_training(place)['curve'][-1][1]
    write_json(file, {'scores': scores, 'sources': [*found.get('sources', ()), *missing]})


def label(spec: str) -> str:
    """The name of a source in columns: `npz:a/fashion.npz` is fashion."""
    return Path(spec.rpartition(':')[2]).stem


def collected(workdir: Path) -> dict[str, Any]:
    """The finished runs of a folder: method -> control -> seed -> trained, untrained, pixels and run."""
    from selfsup.engine import encoder

    found: dict[str, Any] = table.collect(workdir, table.configs(FOLDER))
    for method, controls in found.items():
        for control, runs in controls.items():
            for seed, scores in runs.items():
                place = workdir / method / control / seed
                scores['run'] = {**of_training(place), 'epochs': encoder.read_config(place).train.epochs}
    return found


def percent(runs: dict[str, Any], of: str, column: str) -> str:
    """Mean ± deviation over seeds of a score, in per cent."""
    return table.cell(table.scores(runs, of, column))


def transfers(recorded: dict[str, Any]) -> list[str]:
    """Names of the further sources that any run was measured on."""
    scores = [run['trained'] for controls in recorded.values() for runs in controls.values() for run in runs.values()]
    return sorted({key.partition(':')[0] for score in scores for key in score if ':' in key})


def markdown(recorded: dict[str, Any]) -> str:
    """The table of scores, that of transfer, and that of the runs."""
    if not recorded:
        return 'Not run yet.\n'
    heads = ['', *COLUMNS.values(), 'RankMe', 'alarm', 'minutes', 'epochs', 'seeds']
    lines = [f'| {" | ".join(heads)} |', f'| --- {"| ---: " * (len(heads) - 1)}|']
    more = transfers(recorded)
    beyond = [
        f'| | {" | ".join(f"{name}: k-NN, 20 | linear" for name in more)} |',
        f'| --- {"| ---: | ---: " * len(more)}|',
    ]

    def add(title: str, runs: dict[str, Any], of: str) -> None:
        told = [run['run'] for run in runs.values()]
        cells = [percent(runs, of, column) for column in COLUMNS]
        ranks = np.array([run[of]['rankme'] for run in runs.values() if 'rankme' in run[of]])
        times = (
            [f'{np.mean([run["seconds"] for run in told]) / 60:.0f}', f'{told[0]["epochs"]}']
            if of == 'trained'
            else ['', '']
        )
        raised = f'{sum(run["alarm"] for run in told)} of {len(told)}' if of == 'trained' else ''
        lines.append(f'| {" | ".join([title, *cells, table.cell(ranks), raised, *times, str(len(runs))])} |')
        if more and of != 'pixels':
            pairs = [percent(runs, of, f'{name}:{column}') for name in more for column in ('knn', 'linear')]
            beyond.append(f'| {title} | {" | ".join(pairs)} |')

    for method, controls in recorded.items():
        for control, runs in controls.items():
            name = table.named(method)
            add(f'**{name}**' if control == 'none' else f'{name}, {control.replace("_", " ")}', runs, 'trained')
    plain: list[dict[str, Any]] = [controls['none'] for controls in recorded.values() if 'none' in controls]
    if plain:
        whole = max(plain, key=lambda runs: len(runs))
        add('untrained encoder', whole, 'untrained')
        add('raw pixels', dict([*whole.items()][:1]), 'pixels')
    return '\n'.join([*lines, '', *(beyond if more else []), '']).rstrip('\n') + '\n'


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.cifar10 --workdir=FOLDER [--methods=a,b] [--seeds=1] '
        '[--controls=none,shuffled_pairs] [--transfer=digits,npz:FILE] [--record=FILE.json] [--config.field=value]'
    )
    known = table.configs(FOLDER)
    options: cli.Options = {'workdir': None, 'methods': ','.join(known), 'seeds': '1', 'controls': 'none'}
    values, overrides = cli.parse(arguments, {**options, 'transfer': 'digits', 'record': ''}, usage)
    methods, workdir = table.chosen(values['methods'], known), Path(values['workdir'])
    seeds = [cli.integer('seeds', seed) for seed in values['seeds'].split(',')]
    transfer = [spec for spec in values['transfer'].split(',') if spec]
    if not values['record']:
        cli.prepare()
        table.run_all(
            FOLDER,
            workdir,
            methods,
            seeds,
            overrides,
            controls=tuple(values['controls'].split(',')),
            finish=lambda place: measure(place, transfer),
        )
        print(markdown(collected(workdir)))
        return 0
    file = Path(values['record'])
    recorded = json.loads(file.read_text()) if file.exists() else {}
    for method, controls in collected(workdir).items():
        for control, runs in controls.items():
            recorded.setdefault(method, {}).setdefault(control, {}).update(runs)
    file.write_text(table.as_json(recorded))
    return 0


if __name__ == '__main__':
    errors.command(main)()
