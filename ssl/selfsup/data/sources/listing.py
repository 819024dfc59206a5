"""Image files named in a list: CSV, or text with one path a line."""

import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import UserError
from ...files import expanded, read_text
from ..readers import Files
from .base import Options, Source, digest, split
from .folder import TEST, TRAIN

HEADER = ('path', 'file', 'filename', 'image')
MISSING = ('nan', 'none', 'null', 'na', 'n/a')  # what programs write for an empty cell
SHOWN = 200  # characters of a path in a message


class Row(NamedTuple):
    """One line of a list; '' where it has no label or split."""

    line: int
    path: str
    label: str = ''
    split: str = ''


def open_list(path: str, options: Options) -> tuple[Source, Source]:
    """The files that a list names: one `path`, and where it likes a `label` and a `split` (train or test), a line.

    Columns are cut at commas in a file ending in .csv, at tabs in any other; a first line `path,label,split` gives
    their order. Paths are relative to the list, or begin with `~`. Labels may be words or numbers; '' and -1 are none.
    """
    file = expanded(path)
    if not file.is_file():
        raise UserError(f'data.source=list:{path}: there is no such file')
    rows, notes = _rows(file)
    if not rows:
        raise UserError(f'{file} names no images')
    _check(file, rows)
    found = sorted({row.label for row in rows} - {'', '-1'})
    names = sorted(found, key=_size) if all(n.isascii() and n.isdecimal() for n in found) else found
    missing = [name for name in names if name.lower() in MISSING]
    if missing:
        count = sum(row.label in missing for row in rows)
        notes.append(f'{file}: {count} rows have the label {missing[0]!r}, a class like others; an empty label is none')
    held = [row.split.lower() in TEST for row in rows]
    if not any(held):
        whole = _source(file, rows, names, '').replace(notes=notes)
        return split(whole, options.test_fraction, seed=0, parts=('train', 'test'))
    train = [row for row, out in zip(rows, held, strict=True) if not out]
    if not train:
        raise UserError(f'{file} names test images alone; lines to train on have the split train')
    test = [row for row, out in zip(rows, held, strict=True) if out]
    return _source(file, train, names, '').replace(notes=notes), _source(file, test, names, '[test]')


def _size(digits: str) -> tuple[int, str]:
    """In the order of the numbers, which may have more digits than Python turns into one."""
    plain = digits.lstrip('0')
    return len(plain), plain


def _rows(file: Path) -> tuple[list[Row], list[str]]:
    """The lines of a list, and notes on columns that are not read."""
    text = read_text(file).removeprefix('\ufeff')  # the mark that spreadsheets put first
    try:
        if file.suffix.lower() == '.csv':
            # A quoted name may hold a line break.
            reader = csv.reader(io.StringIO(text, newline=''), skipinitialspace=True)
            cut = [(reader.line_num, cells) for cells in reader]
        else:
            cut = [(number, line.split('\t')) for number, line in enumerate(text.split('\n'), 1)]
    except csv.Error as error:
        raise UserError(f'{file} is no CSV: {error}') from error
    rows = [(number, [cell.strip() for cell in cells]) for number, cells in cut if any(cell.strip() for cell in cells)]
    order, notes = ['path', 'label', 'split'], []
    if rows and any(cell.lower() in HEADER for cell in rows[0][1]) and not os.path.isfile(_place(file, rows[0][1][0])):
        order = ['path' if cell.lower() in HEADER else cell.lower() for cell in rows.pop(0)[1]]
        for name in Row._fields[1:]:
            if order.count(name) > 1 or (name == 'path' and not order.count(name)):
                raise UserError(
                    f'{file}: its first line names the {name} {order.count(name)} times; one column holds it'
                )
        notes = _unread(file, order, rows)
    found = []
    for number, cells in rows:
        if len(cells) > len(order):
            raise UserError(f'{file}, line {number}: {len(cells)} columns where {len(order)} are known ({order})')
        named = {name: cell for name, cell in zip(order, cells, strict=False) if name in Row._fields}
        found.append(Row(number, **named))
    return found, notes


def _unread(file: Path, order: list[str], rows: list[tuple[int, list[str]]]) -> list[str]:
    """A note on columns that are not read; refused is one that says what is held out."""
    rest = [(at, name) for at, name in enumerate(order) if name not in Row._fields]
    for at, name in rest:
        values = {cells[at].lower() for _, cells in rows if len(cells) > at} - {''}
        if 'split' not in order and values & set(TEST) and values <= {*TRAIN, *TEST}:
            raise UserError(f'{file}: its column {name!r} holds names of splits; call it split')
    names = [repr(name) for _, name in rest if name]
    known = ', '.join(Row._fields[1:])
    return [f'{file}: its columns {", ".join(names)} are not read; {known} are'] if names else []


def _place(file: Path, path: str) -> Path:
    """Where a path of a list lies: relative to the list, or with `~` from the home."""
    place = file.parent / path
    return expanded(path) if path.startswith('~') and not os.path.isfile(place) else place


def _check(file: Path, rows: list[Row]) -> None:
    """Refuses lines that name no file, one that another line names, or an unknown split."""
    seen: dict[str, int] = {}
    for row in rows:
        place = _place(file, row.path)
        if not row.path or not os.path.isfile(place):
            shown = row.path if len(row.path) <= SHOWN else f'{row.path[:SHOWN]}...'
            raise UserError(f'{file}, line {row.line}: there is no file {shown!r}{_hint(file, row, rows[0])}')
        # A file named twice could be trained on and tested on.
        before = seen.setdefault(os.path.realpath(place), row.line)
        if before != row.line:
            raise UserError(f'{file}, line {row.line}: {row.path} stands in line {before} already')
        if row.split.lower() not in ('', *TRAIN, *TEST):
            raise UserError(f'{file}, line {row.line}: the split {row.split!r} is neither train nor test')


def _hint(file: Path, row: Row, first: Row) -> str:
    """What may be wrong with a line that names no file."""
    if '://' in row.path:
        return '; it is an address, and files are read from this machine'
    if row.path[:1] in '{[' and row is first:
        return '; a list is CSV, or text with a path a line'
    if '\\' in row.path:
        return '; folders are parted by /'
    if file.suffix.lower() != '.csv':
        return '; a label stands behind a tab'
    if set(row.path) & set(';\t|'):
        return '; a .csv is cut at commas'
    return '; a first line of names is path,label,split' if row is first else ''


def _source(file: Path, rows: list[Row], names: list[str], part: str) -> Source:
    number = {name: label for label, name in enumerate(names)}
    labels = np.array([number.get(row.label, -1) for row in rows])
    paths = [_place(file, row.path) for row in rows]
    text = '\n'.join(f'{row.path} {row.label} {p.stat().st_size}' for row, p in zip(rows, paths, strict=True))
    kept = names if (labels >= 0).any() else []
    return Source(f'list:{file}{part}', Files(paths), labels, kept, digest(text))
