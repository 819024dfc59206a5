"""Every method with its paper, family, configs and measured result: `selfsup methods`."""

import inspect
import json
import re
import statistics
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
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
CALLED = re.compile(r'(?<![\w.])losses\.(\w+)')  # not `selfsup.losses.x`, which docstrings write


class Row(NamedTuple):
    """What is known of a method.

    Attributes:
      name: `config.method.name`.
      title: its name in the paper.
      paper: authors and year.
      link: where it is.
      family: the folder of `methods` that it lies in.
      losses: the functions of `selfsup.losses` that its criterion is made of.
      configs: that come with the package.
      score, untrained: see `USAGE`; None where they were not measured.
      seeds: of which they are the mean.
      what: the first sentence of its docstring.
    """

    name: str
    title: str
    paper: str
    link: str
    family: str
    losses: list[str]
    configs: list[str]
    score: float | None
    untrained: float | None
    seeds: int
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
        found.append(
            Row(name, title, authors, link, family, losses_of(constructor), own, score, untrained, len(runs), what)
        )
    return sorted(found, key=lambda row: (row.family, row.name))


def losses_of(constructor: Callable[..., Any]) -> list[str]:
    """Names of the losses of `selfsup.losses` that a constructor calls; `vicreg` for `vicreg_terms`.

    They are read in its source, else in that of its module, else in those of the constructors that it calls.
    """
    from . import losses

    module = sys.modules[constructor.__module__]
    own = inspect.getsource(constructor)
    words = dict.fromkeys(re.findall(r'\b\w+(?=\()', own))
    makers = [maker for maker in (vars(module).get(word) for word in words) if inspect.isfunction(maker)]
    modules = (sys.modules[maker.__module__] for maker in makers)
    for text in (own, inspect.getsource(module), ''.join(map(inspect.getsource, modules))):
        called = CALLED.findall(text)
        found = [name for name in called if _is_loss(getattr(losses, name))]
        if found:
            return list(dict.fromkeys(name.removesuffix('_terms') for name in found))
    return []


def _is_loss(function: Callable[..., Any]) -> bool:
    """Whether a function gives a scalar, alone, by terms, or beside the state that it moves."""
    returned = inspect.signature(function).return_annotation
    while typing.get_args(returned):
        if typing.get_origin(returned) is dict:
            return True
        returned = typing.get_args(returned)[0]
    return getattr(returned, 'dim_str', None) == ''


def scored(row: Row) -> str:
    """The score in per cent, with an asterisk where it is of one seed; '' where it was not measured."""
    return '' if row.score is None else f'{row.score:.1f}{"*" if row.seeds == 1 else ""}'


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
    for name in ('family', 'method', 'paper', 'losses', 'configs', 'digits'):
        table.add_column(name, overflow='fold')
    for row in found:
        score = '-' if row.score is None else f'{scored(row)} ({row.untrained:.1f})'
        paper = f'{row.title}, {row.paper}\n{row.link}'
        named = ('\n'.join(names) or '-' for names in (row.losses, row.configs))
        table.add_row(row.family, row.name, paper, *named, score)
    console.print(table)
    print('digits: per cent with ten labels per class, *: of one seed, in brackets of the untrained encoder')
    if values['']:
        for row in found:
            print(described(row.name))
    return 0


if __name__ == '__main__':
    command(main)()
