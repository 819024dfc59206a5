"""Several encoders, or features in files, on a list of tasks: means by kind of task, ranks, and FEET's table."""

import os
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command
from .files import check_place, folder_exists, write_json

USAGE = """usage: selfsup bench NAME=FOLDER NAME=FILE.npz ... [--data=a,b] [--tasks=a,b] [--feet] [--out=FILE.json]

  NAME=FOLDER       a run, or an encoder of selfsup.convert, under a name for the table
  NAME=FILE.npz     features of selfsup.embed; the same name again adds the next data set, in the order of --data
  --data=a,b        the data sets, sources as of evaluate; by default a run's own, or the files' places: data1, data2
  --tasks=a,b       of logistic, low_label (16 labels a class), few_shot (5 ways, 5 shots), knn, clustering (NMI),
                    retrieval (mAP); by default all
  --feet            also FEET's table: frozen and few-shot accuracy on each data set, and what the latter gain
  --out=FILE.json   also writes every number there

Each encoder sees the same samples. mean is over the kinds of tasks; rank is the mean over tasks, 1 the best; borda is
how many of the others an encoder beats, over all tasks."""


def named(words: list[str]) -> dict[str, list[str]]:
    """Name -> its places, from words NAME=PLACE."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, place = word.partition('=')
        if not (name and equals and place):
            raise UserError(f'{word!r} must be NAME=FOLDER or NAME=FILE.npz')
        found.setdefault(name, []).append(place)
    if not found:
        raise UserError(f'no encoder is named; {USAGE.splitlines()[0]}')
    return found


def of_files(name: str, files: list[str], data: list[str]) -> dict[str, Any]:
    """Data set -> train and test, of the features in files."""
    from .engine.features_files import read_features

    if data and len(files) != len(data):
        raise UserError(f'{name} has {len(files)} files, and --data names {len(data)} data sets; give one for each')
    sets = data or [f'data{number}' for number in range(1, len(files) + 1)]
    return {spec: read_features([file], name) for spec, file in zip(sets, files, strict=True)}


def of_encoder(name: str, folders: list[str], data: list[str]) -> dict[str, Any]:
    """Data set -> train and test, as an encoder sees them."""
    from .engine import build, encoder, images

    if len(folders) > 1:
        raise UserError(f'{name} names {len(folders)} encoders; give each a name of its own')
    trained = encoder.load(folders[0])
    found = {}
    for spec in data or ['data1']:
        if data:
            parts = images.open_train_and_test(trained.config, spec)
        else:
            own = build.open_data(trained.config)
            parts = {'train': own.labelled, 'test': own.test}
        found[spec] = tuple(images.features(trained, source) for source in parts.values())
    return found


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    """A table with a line for each encoder; shares in per cent."""
    from rich.console import Console
    from rich.table import Table

    out = Table(title=title)
    out.add_column('encoder')
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    for column in columns:
        out.add_column(column, justify='right')
    for name, row in rows.items():
        cells = []
        for column in columns:
            scale = 1 if column in ('rank', 'borda') or '/delta_' in column else 100
            cells.append(f'{scale * row[column]:.4g}' if column in row else '')
        out.add_row(name, *cells)
    Console(width=max(Console().width, 120)).print(out)


def main(arguments: list[str]) -> int:
    options: cli.Options = {'': [], 'data': '', 'tasks': '', 'feet': 'false', 'out': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('bench takes its configs from the workdirs; --config fields have no effect here')
    out = Path(values['out']) if values['out'] else None
    if out and not (out.suffix == '.json' and folder_exists(out.parent)):
        raise UserError(f'--out={out} must be a file ending in .json in a folder that exists')
    if out:
        check_place(out, f'--out={out}', cli.holds_numbers)
    cli.prepare()
    from . import evals

    data = values['data'].split(',') if values['data'] else []
    tasks = values['tasks'].split(',') if values['tasks'] else list(evals.TASKS)
    for one in tasks:
        evals.check_task(one)
    encoders = {
        name: (of_encoder if os.path.isdir(places[0]) else of_files)(name, places, data)
        for name, places in named(values['']).items()
    }
    scores = evals.bench(encoders, tasks=tasks, told=lambda line: print(line, flush=True))
    rows = evals.summary(scores)
    show('by kind of task, per cent', rows)
    written: dict[str, Any] = {'scores': scores, 'summary': rows}
    if values['feet'] == 'true':
        table = {
            name: {
                f'{spec}/{k.removeprefix("feet_")}': v
                for spec, pair in sets.items()
                for k, v in evals.feet(*pair).items()
            }
            for name, sets in encoders.items()
        }
        show('FEET: frozen and few-shot accuracy; delta over frozen in per cent of it', table)
        written['feet'] = table
    if out:
        write_json(out, written)
        print(f'numbers: {out}', flush=True)
    return 0


if __name__ == '__main__':
    command(main)()
