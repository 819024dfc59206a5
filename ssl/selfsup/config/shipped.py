"""The configs that come with the package, by name: `digits/vicreg`."""

from pathlib import Path

from ..errors import UserError, nearest
from ..files import expanded

PACKAGE = Path(__file__).parent.parent
# In a wheel they lie inside the package, in a checkout beside `ssl`.
PLACES = (PACKAGE / 'experiments', PACKAGE.parent.parent / 'experiments')
NO_CONFIGS = ('tables',)


def experiments() -> Path | None:
    """The folder of the configs and tables; None where the package came without them."""
    return next((place for place in PLACES if (place / 'digits').is_dir()), None)


def shipped() -> dict[str, Path]:
    """Name -> file of every config; files that configs share (`common.py`) are none."""
    root = experiments()
    if root is None:
        return {}
    files = sorted(file for file in root.glob('*/*.py') if file.stem not in ('common', '__init__'))
    return {f'{f.parent.name}/{f.stem}': f for f in files if f.parent.name not in NO_CONFIGS}


def find(path: str) -> Path:
    """The file of a config: a path, or a name of :func:`shipped`.

    Raises:
      UserError: with the nearest names where there is neither.
    """
    file = expanded(path)
    if file.is_file():
        return file
    known = shipped()
    name = path.removesuffix('.py').removeprefix('experiments/')
    if name in known:
        return known[name]
    inside = [config for config in known if config.startswith(f'{name.rstrip("/")}/')]
    if inside:
        raise UserError(f'{path} is a folder of {len(inside)} configs; name one, such as {inside[0]} or {inside[-1]}')
    near = [p.name for p in file.parent.glob('*.py')] if file.parent.is_dir() and file.suffix == '.py' else []
    told = nearest(file.name, near) if near else nearest(name, known)
    if known and told.startswith('; known are'):
        told = '; `selfsup methods` lists the names of those that come with the package'
    raise UserError(f'there is no config file {path}{told}')


def recorded(name: str) -> Path | None:
    """A file of recorded results that comes with the package, `digits.json`; None where it does not."""
    places = (PACKAGE / 'experiments' / name, PACKAGE.parent.parent / 'docs' / name)
    return next((place for place in places if place.is_file()), None)
