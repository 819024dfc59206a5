"""Every method with its paper, family, configs and measured result: `selfsup methods`."""

import inspect
import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import cli
from .errors import UserError, command, nearest

USAGE = """usage: selfsup methods [NAME ...] [--family=FAMILY] [--json]      (or python -m selfsup.catalogue)

  NAME ...          only these; with the docstring of each
  --family=FAMILY   only those of a family: contrastive, distillation, redundancy, clustering, masked, ...
  --json            as JSON

digits: accuracy in per cent of a linear probe with ten labels per class, mean over seeds, against that of the untrained
encoder in brackets (docs/digits.md says how it was measured); '-' where it was not measured."""
PAPER = re.compile(r'\(([^()]*?\b\d{4}), (https://\S+?)[),;]')


class Row(NamedTuple):
    """What is known of a method.

    Attributes:
      name: `config.method.name`.
      title: its name in the paper.
      paper: authors and year.
      link: where it is.
      family: the folder of `methods` that it lies in.
      configs: that come with the package.
      score, untrained: see `USAGE`; None where they were not measured.
      what: the first sentence of its docstring.
    """

    name: str
    title: str
    paper: str
    link: str
    family: str
    configs: list[str]
    score: float | None
    untrained: float | None
    what: str


def rows(scores: Mapping[str, Any] | None = None) -> list[Row]:
    """Every method, by family and name; `scores` are those of docs/digits.json unless others are given."""
    from .config.shipped import recorded, shipped
    from .methods import METHODS

    if scores is None:
        file = recorded('digits.json')
        scores = json.loads(file.read_text(encoding='utf-8')) if file else {}
    configs = list(shipped())
    found = []
    for name, constructor in METHODS.items():
        module = inspect.getmodule(constructor)
        head = ' '.join((inspect.getdoc(module) or '').split())
        paper = PAPER.search(head)
        runs = list(scores.get(name, {}).get('none', {}).values())
        what = (inspect.getdoc(constructor) or '').split('\n')[0]
        # Of what continues another run, `continued/digits_scan` is the method scan on digits.
        own = [
            c for c in configs if name == (c.partition('_')[2] if c.startswith('continued/') else c.partition('/')[2])
        ]
        family = constructor.__module__.split('.')[-2]
        title = re.split(r' \(|: |\.$', head)[0]
        authors, link = (paper[1], paper[2]) if paper else ('', '')
        score, untrained = _mean(runs, 'trained'), _mean(runs, 'untrained')
        found.append(Row(name, title, authors, link, family, own, score, untrained, what))
    return sorted(found, key=lambda row: (row.family, row.name))


def _mean(runs: list[dict[str, Any]], of: str) -> float | None:
    return 100 * statistics.fmean(run[of]['linear_10'] for run in runs) if runs else None


def chosen(names: Iterable[str], family: str) -> list[Row]:
    """The rows that are asked for.

    Raises:
      UserError: for an unknown name or family.
    """
    every = rows()
    known, families = {row.name for row in every}, {row.family for row in every}
    for name in names:
        if name not in known:
            raise UserError(f'{name!r} is an unknown method{nearest(name, known)}')
    if family and family not in families:
        raise UserError(f'--family={family} is unknown{nearest(family, families)}')
    return [row for row in every if (not names or row.name in names) and family in ('', row.family)]


def described(name: str) -> str:
    """The docstring of a method and its hyper-parameters with their defaults, as text."""
    from .methods import METHODS
    from .signature import keywords

    doc = re.sub(r':\w+:`~?([^`]*)`', r'`\1`', inspect.getdoc(METHODS[name]) or '')
    fields = '\n'.join(f'  method.{field} = {value!r}' for field, value in keywords(METHODS[name]).items())
    return f'\n{name}\n\n{doc}\n\nHyper-parameters and defaults:\n{fields}'


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'': [], 'family': '', 'json': 'false'}, USAGE)
    if overrides:
        raise UserError('methods reads no config; --config fields have no effect here')
    found = chosen(values[''], values['family'])
    if values['json'] == 'true':
        print(json.dumps([row._asdict() for row in found], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width of its own, and its lines are not to be cut.
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table()
    for name in ('family', 'method', 'paper', 'configs', 'digits'):
        table.add_column(name, overflow='fold')
    for row in found:
        score = '-' if row.score is None else f'{row.score:.1f} ({row.untrained:.1f})'
        paper = f'{row.title}, {row.paper}\n{row.link}'
        table.add_row(row.family, row.name, paper, '\n'.join(row.configs) or '-', score)
    console.print(table)
    print('digits: per cent with ten labels per class, in brackets of the untrained encoder')
    if values['']:
        for row in found:
            print(described(row.name))
    return 0


if __name__ == '__main__':
    command(main)()
