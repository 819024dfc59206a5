"""Lists of runs."""

import json
import sys
from typing import Any

from ..errors import UserError, nearest
from ..files import expanded, plain, printable
from .listing import collect, kept, shown

COLUMNS = ('run', 'state', 'method', 'step', 'loss', 'rankme', 'alignment', 'probe_accuracy', 'linear', 'minutes')


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
