"""Lets a config file import the files beside it, from any working directory."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Within it, `folder` comes first where modules are looked for.

    Modules that were imported from it are forgotten afterwards: each folder of configs may have its own `common.py`.
    """
    folder = folder.resolve()
    names = {file.stem for file in folder.glob('*.py')} - sys.stdlib_module_names
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [n for n, module in sys.modules.items() if n not in before and _lies_in(module, folder)]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, '__file__', None)
    return bool(file) and Path(file).parent == folder
