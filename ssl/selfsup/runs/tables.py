"""Tables and curves of runs."""

import json
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..files import expanded, is_number, plain, printable
from .listing import collect, kept, shown

COLUMNS = ('run', 'state', 'method', 'step', 'loss', 'rankme', 'alignment', 'probe_accuracy', 'linear', 'minutes')
PLOTTED = ('loss', 'rankme', 'alignment', 'probe_accuracy')


def cell(row: dict[str, Any], column: str) -> str:
    if column == 'step' and row.get('total'):
        return f'{row["step"]}/{row["total"]}'
    if column == 'state' and row.get('problem'):
        return f'damaged: {row["problem"]}'
    return shown(row.get(column))


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table; into a pipe with tabs, so that other programs can read it, and each row on a line."""
    columns, *rows = [[printable(text) for text in row] for row in (columns, *rows)]
    if not sys.stdout.isatty():
        for line in ([columns] if columns else []) + rows:
            print('\t'.join(line))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    made = Table(*map(escape, columns))
    for row in rows:
        made.add_row(*(Text(text, overflow='fold') for text in row))
    Console().print(made)


def list_runs(values: dict[str, Any]) -> int:
    """`selfsup runs FOLDER`."""
    if len(values['']) > 1:
        raise UserError('runs lists one folder; selfsup runs FOLDER')
    rows = collect(expanded(values[''][0] if values[''] else 'runs'))
    more = [name for name in values['columns'].split(',') if name]
    known = {name for row in rows for name in row}
    for name in more:
        if name not in known:
            raise UserError(f'--columns: {name!r} is unknown{nearest(name, known)}')
    rows = kept(rows, values)
    if values['json'] == 'true':
        print(json.dumps(plain([{k: v for k, v in row.items() if k != '_config'} for row in rows]), indent=1))
        return 0
    columns = [*COLUMNS, *more]
    table(columns, [[cell(row, column) for column in columns] for row in rows])
    return 0


def compare(values: dict[str, Any]) -> int:
    """`selfsup runs compare A B`."""
    rows = [row for name in values[''][1:] for row in collect(expanded(name))]
    if len(rows) < 2:
        raise UserError('compare needs at least two runs')
    for row in rows:
        if row['state'] == 'damaged':
            raise UserError(f'{row["folder"]}: {row["problem"]}')
    labels = _labels([row['folder'] for row in rows])
    fields = sorted({name for row in rows for name in row['_config']})
    differing = [f for f in fields if len({json.dumps(row['_config'].get(f)) for row in rows}) > 1]
    measures = [m for row in rows for m in row if m not in row['_config'] and is_number(row[m]) and '/' not in m]
    measures = sorted(set(measures) - {'total'})
    if values['json'] == 'true':
        content = {
            label: {name: row.get(name) for name in (*differing, 'state', *measures)}
            for label, row in zip(labels, rows, strict=True)
        }
        print(json.dumps(plain(content), indent=1))
    else:
        lines = [['state', *(row['state'] for row in rows)]]
        lines += [[name, *(shown(row.get(name)) for row in rows)] for name in (*differing, *measures)]
        table(['', *labels], lines)
    if values['plot']:
        plot(rows, labels, expanded(values['plot']))
    return 0


def _labels(folders: list[str]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    parts = [Path(folder).absolute().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f'{folder} ({number})' for number, folder in enumerate(folders, 1)]


def _in_legend(label: str) -> str:
    """A name as matplotlib shows it: no formula, and not hidden for the underscore it begins with."""
    text = printable(label).replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text


def plot(rows: list[dict[str, Any]], labels: list[str], file: Path) -> None:
    """Curves of the runs: a panel for each of loss, RankMe, alignment and probe accuracy that they have."""
    from matplotlib.figure import Figure

    from ..files import read_jsonl

    lines = [read_jsonl(Path(row['folder']) / 'metrics.jsonl') for row in rows]
    names = [name for name in PLOTTED if any(name in line for run in lines for line in run)]
    figure = Figure(figsize=(4.2 * max(len(names), 1), 3.4))
    panels = figure.subplots(1, max(len(names), 1), squeeze=False)
    for name, panel in zip(names, panels[0], strict=False):
        for label, run in zip(labels, lines, strict=True):
            points = [(line['step'], line[name]) for line in run if name in line]
            panel.plot(*zip(*points, strict=True), label=_in_legend(label)) if points else None
        panel.set_title(name.replace('_', ' '))
        panel.set_xlabel('step')
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'--plot={file} cannot be written: {reason}') from error
    print(f'curves: {file}')
