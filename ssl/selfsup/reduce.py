"""Features to fewer dimensions by TLDR, PCA or whitened PCA, fitted on train alone, and what that keeps of them."""

import os
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command, nearest
from .files import check_place, expanded, folder_exists, read_arrays, write_arrays

USAGE = """usage: selfsup reduce --in=FEATURES.npz --out=REDUCED.npz --dim=N [--by=tldr|pca|whiten] [--save=REDUCER.npz]
       selfsup reduce --in=FEATURES.npz --out=REDUCED.npz --apply=REDUCER.npz

  --in=FILE.npz       as selfsup embed writes it: train_features and test_features, or features; with labels or without
  --out=FILE.npz      gets the same arrays with reduced features; it is what --in of other commands takes
  --dim=N             width of the reduced features, at most that of the features
  --by=tldr           tldr (Barlow Twins on pairs of nearest neighbours), pca, or whiten (PCA, each direction over its
                      deviation); fitted on train_features, or on features where a file has no parts
  --save=FILE.npz     also writes the reducer there
  --apply=FILE.npz    a reducer of --save instead of a fit: nothing of --in is learned from
  --report=off        no table; by default one with PCA and whitened PCA of the same width beside

Of tldr; the authors' defaults, made for 100,000 rows and more (docs/reduction.md says what suits fewer):
  --hidden=           widths of hidden layers of the encoder, as 512 or 512,512; none is linear
  --projector=2048,2048,2048    widths of the projector, which is dropped
  --neighbours=5      of each row, by Euclidean distance
  --epochs=100        --warmup-epochs=10  --batch-size=1024  --learning-rate=0.2 (for 256 rows)  --seed=0"""

COUNTS = ('neighbours', 'epochs', 'warmup-epochs', 'batch-size', 'seed')
WIDTHS = ('hidden', 'projector')
OF_TLDR = (*COUNTS, *WIDTHS, 'learning-rate')
ONCE = ('dim', 'by', 'save', *OF_TLDR)  # of a fit: they have no effect beside --apply


def settings(values: dict[str, Any]) -> dict[str, Any]:
    """The keywords of TLDR that were given.

    Raises:
      UserError: for one that is no number, or beside another way to reduce.
    """
    given = {name: values[name] for name in OF_TLDR if values[name] != ''}
    if given and values['by'] not in ('', 'tldr'):
        raise UserError(f'--{next(iter(given))} belongs to --by=tldr, and --by={values["by"]} has no use for it')
    found: dict[str, Any] = {}
    for name, text in given.items():
        if name in WIDTHS:
            value: Any = tuple(cli.integer(name, width) for width in text.split(','))
        elif name in COUNTS:
            value = cli.integer(name, text)
        else:
            value = cli.positive(name, text)
        if name not in ('seed', 'warmup-epochs') and 0 in (value if isinstance(value, tuple) else (value,)):
            raise UserError(f'--{name} must be at least 1, not {text}')
        if name == 'batch-size' and value < 2:
            raise UserError('--batch-size must be at least 2: correlations of one row are not defined')
        found[name.replace('-', '_')] = value
    return found


def parts_of(arrays: dict[str, Any], file: str) -> dict[str, Any]:
    """The features of a file, by the prefix of their name: `train_`, `test_`, or none.

    Raises:
      UserError: if there are none, or they are no floats `[n, width]` of one width.
    """
    import numpy as np

    found = {prefix: arrays[f'{prefix}features'] for prefix in ('train_', '', 'test_') if f'{prefix}features' in arrays}
    if not found:
        raise UserError(
            f'--in={file} has no array features, train_features or test_features{nearest("features", arrays)}'
        )
    width = None
    for prefix, rows in found.items():
        name = f'--in={file}: {prefix}features'
        if not np.issubdtype(rows.dtype, np.floating) or rows.ndim != 2 or 0 in rows.shape:
            raise UserError(f'{name} must be floats [n, width], not {rows.dtype} {list(rows.shape)}')
        if width not in (None, rows.shape[1]):
            raise UserError(f'{name} has rows of {rows.shape[1]} features, and the other part of {width}')
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            raise UserError(f'{name}: {int(bad.sum())} rows are not finite, the first is {int(bad.argmax())}')
        width = rows.shape[1]
    return found


def judge(arrays: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """The numbers of one reduction: test against train where a file has both, else a part against itself."""
    import numpy as np

    from .data.sources import integers
    from .reduction import judged

    bank = next(iter(before))
    query = 'test_' if 'test_' in before else bank
    labels = {
        p: integers(arrays.get(f'{p}labels'), len(before[p]), f'{p}labels').astype(np.int64) for p in (bank, query)
    }
    return judged(*((part[bank], part[query]) for part in (before, after, labels)))


def show(rows: dict[str, dict[str, float]], widths: dict[str, int]) -> None:
    """The table of several reductions, in per cent."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title='in per cent; recall of 10 Euclidean neighbours, the rest by cosine')
    columns = list(next(iter(rows.values())))
    for name in ('features', 'width', *columns):
        table.add_column(name.replace('_', ' '), justify='left' if name == 'features' else 'right')
    for name, scores in rows.items():
        table.add_row(name, str(widths[name]), *(f'{100 * scores[column]:.1f}' for column in columns))
    Console().print(table)


def main(arguments: list[str]) -> int:
    options: cli.Options = {'in': None, 'out': None, 'apply': '', 'report': 'on', **dict.fromkeys(ONCE, '')}
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('reduce has no config; --config fields have no effect here')
    if values['report'] not in ('on', 'off'):
        raise UserError(f'--report must be on or off, not {values["report"]!r}')
    if values['apply']:
        idle = [name for name in ONCE if values[name] != '']
        if idle:
            raise UserError(f'--{idle[0]} belongs to a fit, and --apply takes a reducer as it is')
    elif values['dim'] == '':
        raise UserError(f'--dim is missing, or --apply; {USAGE.splitlines()[0]}')
    by = values['by'] or 'tldr'
    if by not in ('tldr', 'pca', 'whiten'):
        raise UserError(f'--by={by} is unknown{nearest(by, ("tldr", "pca", "whiten"))}')
    keywords = settings(values)
    dim = 0 if values['apply'] else cli.integer('dim', values['dim'])
    taken = {os.path.realpath(expanded(values[name])): f'--{name}' for name in ('apply', 'in') if values[name]}
    for name in ('out', 'save'):
        place = values[name]
        if place == '':
            continue
        if not place.endswith('.npz') or not folder_exists(Path(place).parent):
            raise UserError(f'--{name}={place} must be a file ending in .npz in a folder that exists')
        if os.path.realpath(place) in taken:
            raise UserError(f'--{name}={place} is the file of {taken[os.path.realpath(place)]}; name another file')
        taken[os.path.realpath(place)] = f'--{name}'
        check_place(Path(place), f'--{name}={place}', cli.holds_features if name == 'out' else cli.holds_arrays('kind'))
    cli.prepare()
    import numpy as np

    from . import reduction

    arrays = read_arrays(expanded(values['in']), f'--in={values["in"]}')
    parts = parts_of(arrays, values['in'])
    others = {}
    if values['apply']:
        reducer = reduction.read(expanded(values['apply']), f'--apply={values["apply"]}')
    else:
        if list(parts) == ['test_']:
            raise UserError(f'--in={values["in"]} has test_features alone; a fit needs train_features, or features')
        fit = np.asarray(next(iter(parts.values())), np.float32)

        def tell(number: int, epochs: int, loss: float) -> None:
            if number % max(epochs // 10, 1) == 0 or number == epochs:
                print(f'epoch {number} of {epochs}: loss {loss:.4f}', flush=True)

        fits = {
            'pca': lambda: reduction.pca(fit, dim),
            'whiten': lambda: reduction.pca(fit, dim, whiten=True),
            'tldr': lambda: reduction.tldr(fit, dim, tell=tell, **keywords),
        }
        reducer = fits[by]()
        if values['report'] == 'on':
            others = {kind: fits[kind]() for kind in ('pca', 'whiten') if kind != by}
    if values['save']:
        reduction.save(reducer, Path(values['save']))
    reduced = {prefix: reduction.apply(reducer, rows) for prefix, rows in parts.items()}
    written: dict[str, Any] = {**arrays, **{f'{prefix}features': rows for prefix, rows in reduced.items()}}
    write_arrays(Path(values['out']), written)
    if values['report'] == 'on':
        found = {'as they are': judge(arrays, parts, parts)}
        for kind, one in {**others, reducer.kind: reducer}.items():
            after = reduced if one is reducer else {p: reduction.apply(one, rows) for p, rows in parts.items()}
            found[kind] = judge(arrays, parts, after)
        width = next(iter(parts.values())).shape[1]
        show(found, {name: width if name == 'as they are' else reducer.dim for name in found})
    shapes = ', '.join(f'{prefix}features {list(rows.shape)}' for prefix, rows in reduced.items())
    print(f'{values["out"]}: {shapes}')
    return 0


if __name__ == '__main__':
    command(main)()
