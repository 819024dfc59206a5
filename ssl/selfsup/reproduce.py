"""Repeats a table of docs/: `selfsup reproduce digits --methods=vicreg`."""

import ast
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

from .config.shipped import experiments, recorded
from .errors import UserError, command, nearest

USAGE = """usage: selfsup reproduce [TABLE] [--workdir=FOLDER] [options of the table] [--config.field=value]

  TABLE             a name of the list that the command without one prints
  --workdir=FOLDER  by default runs/tables/TABLE; what is finished there is kept, so a stopped command goes on

Runs a table with the overrides that it was recorded with. A table of scores ends with ours beside the recorded ones;
--methods=a,b and --seeds=1,2,3 choose rows, `findings NAME ...` findings. Changed recipes are told of."""
SHARED = ('__init__', 'equal_l0', 'recipes', 'seeds', 'table', 'trained')  # in the folder of tables, and no tables


def tables() -> dict[str, str]:
    """Name of a table -> the first line of its docstring; a folder with a command (`findings`) is one as well."""
    root = experiments()
    files = {file.stem: file for file in root.glob('tables/*.py')} if root else {}
    files |= {file.parent.name: file for file in root.glob('tables/*/__main__.py')} if root else {}
    docs = {name: ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or '' for name, file in files.items()}
    return {name: docs[name].split('\n')[0] for name in sorted(docs) if name not in SHARED}


def module_of(root: Path, name: str) -> ModuleType:
    """A module of the folder of tables, which in a wheel lies inside the package."""
    if 'experiments' not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            'experiments', root / '__init__.py', submodule_search_locations=[str(root)]
        )
        assert spec and spec.loader
        package = importlib.util.module_from_spec(spec)
        sys.modules['experiments'] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f'experiments.tables.{name}')


def main(arguments: list[str]) -> int:
    if {'-h', '--help'} & {*arguments}:
        print(USAGE)
        raise SystemExit(0)
    known = tables()
    root = experiments()
    if root is None:
        raise UserError('the tables did not come with this package; take a checkout or a wheel of `make dist`')
    if not arguments or arguments[0].startswith('-'):
        width = max(map(len, known))
        print('\n'.join(f'{name:<{width}}  {what}' for name, what in known.items()))
        return 0
    name, *rest = arguments
    if name not in known:
        raise UserError(f'{name!r} is an unknown table{nearest(name, known)}')
    if not any(word.startswith('--workdir') for word in rest):
        rest.append(f'--workdir={Path("runs") / "tables" / name}')
    file = recorded('recipes.json')
    recipe = json.loads(file.read_text(encoding='utf-8')).get(name) if file else None
    if recipe:
        changed = module_of(root, 'recipes').changes(name, recipe)
        for config, lines in changed.items():
            print(f'{name}/{config} has changed since its numbers were recorded: {"; ".join(lines)}', file=sys.stderr)
        rest = [*(f'--config.{override}' for override in recipe['overrides']), *rest]
    folder = (root / 'tables' / name).is_dir()
    return module_of(root, f'{name}.__main__' if folder else name).main(rest)


if __name__ == '__main__':
    command(main)()
