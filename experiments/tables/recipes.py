"""The recipes behind recorded numbers: which config a table was measured with, and what has changed in it since.

docs/recipes.json holds for each table the overrides of its command and the resolved fields of every config, those that
all of them share once. A field that came later is not compared: its default does what was done before.
"""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

EXPERIMENTS = Path(__file__).parent.parent
# Decide where a run lies, what it prints and which of the runs of a table it is; not what is measured.
APART = ('seed', 'control', 'data.dir')
Flat = dict[str, Any]
Recipes = dict[str, Any]  # overrides, shared, configs


def of_config(config: ConfigDict) -> Flat:
    """The fields of a resolved config that change what a run computes, as JSON has them."""
    from selfsup.config import resolve

    apart = {*APART, *resolve.RESUMABLE} - {'train.epochs'}
    return {k: v for k, v in resolve.as_flat(config).items() if k not in apart}


def packed(overrides: list[str], configs: dict[str, Flat]) -> Recipes:
    """What is recorded of a table; fields that all of its configs have alike stand under `shared`."""
    first = next(iter(configs.values()))
    shared = {k: v for k, v in first.items() if all(k in c and c[k] == v for c in configs.values())}
    apart = {name: {k: v for k, v in c.items() if k not in shared} for name, c in configs.items()}
    return {'overrides': overrides, 'shared': shared, 'configs': apart}


def current(folder: str, names: list[str], overrides: list[str]) -> dict[str, Flat]:
    """The recipes of a folder's configs as they are now."""
    from selfsup import config

    return {name: of_config(config.load(str(EXPERIMENTS / folder / f'{name}.py'), overrides)) for name in names}


def changes(folder: str, recorded: Recipes) -> dict[str, list[str]]:
    """Config -> one 'field: recorded -> now' line for each recorded field that has another value now.

    Configs without a change are left out; a config that is gone has one line.
    """
    found: dict[str, list[str]] = {}
    for name, apart in recorded['configs'].items():
        before = {**recorded['shared'], **apart}
        if not (EXPERIMENTS / folder / f'{name}.py').exists():
            found[name] = ['the config is gone']
            continue
        now = current(folder, [name], recorded['overrides'])[name]
        told = {k: repr(now[k]) if k in now else 'absent' for k in before}
        lines = [f'{k}: {v!r} -> {told[k]}' for k, v in sorted(before.items()) if told[k] != repr(v)]
        if lines:
            found[name] = lines
    return found


def updated(file: Path, folder: str, names: list[str], overrides: list[str]) -> str:
    """The text of docs/recipes.json with the recipes of a table as they are now; other tables stay."""
    known = json.loads(file.read_text()) if file.exists() else {}
    known[folder] = packed(overrides, current(folder, names, overrides))
    return as_json(known)


def as_json(recipes: dict[str, Recipes]) -> str:
    """One line for each config, and one for what a table's configs share."""
    tables = []
    for folder, one in recipes.items():
        configs = ',\n'.join(f'  {json.dumps(name)}: {json.dumps(flat)}' for name, flat in one['configs'].items())
        head = f'"overrides": {json.dumps(one["overrides"])},\n "shared": {json.dumps(one["shared"])}'
        tables.append(f'{json.dumps(folder)}: {{{head},\n "configs": {{\n{configs}\n }}}}')
    return '{\n' + ',\n'.join(tables) + '\n}\n'
