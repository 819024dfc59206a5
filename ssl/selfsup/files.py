"""Text, JSON and arrays from files, without running anything in them: what cannot be read gives a one-line error."""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    import numpy as np


def read_text(file: Path) -> str:
    """The content of a UTF-8 file.

    Raises:
      UserError: naming the file.
    """
    try:
        return file.read_text(encoding='utf-8')
    except OSError as error:
        raise UserError(f'{file} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{file} is damaged: it is no UTF-8 text ({error.reason} at byte {error.start})') from error


def expanded(path: str | Path) -> Path:
    """A path with `~` and `~user` written out; raises UserError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        text = str(path)
        what = f'this account has no home; set HOME, or write {text} without ~' if text[1:2] in ('', '/') else ''
        raise UserError(f'{path}: {what or "there is no such user"}') from error


def printable(text: str) -> str:
    """A text on one line: line breaks, tabs and control characters, which names of files may hold, as escapes."""
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_folder(entry: 'os.DirEntry[str]') -> bool:
    """Whether an entry of a folder is one, links followed; False for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def folder_exists(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a folder; False for one that cannot be, such as a name that is too long."""
    return os.path.isdir(path)


def is_file(entry: 'os.DirEntry[str]') -> bool:
    """Likewise for files."""
    try:
        return entry.is_file()
    except OSError:
        return False


@contextlib.contextmanager
def placed(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to; it takes the place of `file` when it is whole, and is gone where that fails."""
    temporary = file.with_name(f'.{file.name}.new')
    try:
        yield temporary
        temporary.replace(file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(file)  # what the user knows
        raise


def check_place(file: Path, name: str, ours: Callable[[Path], bool] | None = None) -> None:
    """Refuses, before the work for it is done, a file that cannot be written, or that holds what would be lost.

    Args:
      file: the place.
      name: what the error calls it.
      ours: whether a file that is there holds what this command writes; None takes any. An empty file holds nothing.
    """
    temporary = file.with_name(f'.{file.name}.new')
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise UserError(f'{name} cannot be written: {error.strerror}') from error
    if file.is_dir():
        raise UserError(f'{name} cannot be written: it is a folder')
    if ours is not None and file.is_file() and file.stat().st_size and not ours(file):
        raise UserError(f'{name} holds something else already, which would be lost; name another file')


def make_folders(folder: Path) -> list[Path]:
    """Makes a folder and those around it: the ones that were not there, the inner first; none is left if it fails."""
    made = []
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            break
        made.append(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(made)
        raise
    return made


def no_folder(place: Path, error: OSError) -> str:
    """Why a folder cannot be made: what lies in its place, or above it, or what the system says."""
    for taken in (place, *place.parents):
        if taken.is_symlink() and not taken.exists():
            return f'{taken} is a link to {os.readlink(taken)}, which is not there'
        if taken.exists():
            return f'{taken} is a file' if not taken.is_dir() else str(error.strerror)
    return str(error.strerror)


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders in their order, as far as they are there and empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def plain(content: Any) -> Any:
    """A value for JSON, with null for numbers that are not finite: NaN and Infinity are no JSON."""
    if isinstance(content, dict):
        return {name: plain(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
    """`{'data.batch_size': 256, …}` of a nested dictionary or ConfigDict, tuples as they are."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        where = f'{prefix}{name}'
        if hasattr(value, 'items'):
            flat.update(flatten(value, f'{where}.'))
        else:
            flat[where] = value
    return flat


def json_line(content: dict[str, Any]) -> str:
    """One line of a JSON-lines file; see :func:`plain`."""
    return json.dumps(plain(content), allow_nan=False) + '\n'


def write_json(file: Path, content: Any) -> None:
    """A whole JSON file in the place of what was there; see :func:`plain`."""
    with placed(file) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + '\n')


def parse_json(text: str, where: str) -> dict[str, Any]:
    """The JSON object in a text.

    Args:
      text: what to read.
      where: file, and line, for the error.

    Raises:
      UserError: if it is no JSON, or no object.
    """
    try:
        content = json.loads(text.removeprefix('\ufeff'))  # the mark that some editors put first
    except (ValueError, RecursionError) as error:
        raise UserError(f'{where} is damaged: {error}') from error
    if not isinstance(content, dict):
        raise UserError(f'{where} is damaged: it holds no JSON object but a {type(content).__name__}')
    return content


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises as :func:`read_text` and :func:`parse_json` do."""
    return parse_json(read_text(file), str(file))


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any, *, least: int, below: int) -> bool:
    """Whether a value of a JSON file is a whole number in a range."""
    return type(value) is int and least <= value < below


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of metrics, each an object of numbers with its `step`; empty where there is no file.

    A last line cut short by a crash is left out. null is read as NaN.

    Raises:
      UserError: with the number of a damaged line.
    """
    if not file.exists():
        return []
    lines = []
    rows = read_text(file).splitlines()
    for number, row in enumerate(rows, 1):
        try:
            line = parse_json(row, f'{file}, line {number},')
        except UserError:
            if number == len(rows):
                break
            raise
        line = {name: math.nan if value is None else value for name, value in line.items()}
        if type(line.get('step')) is not int or not all(map(is_number, line.values())):
            raise UserError(f'{file}, line {number}, is damaged: it must hold a whole step, and numbers alone')
        lines.append(line)
    return lines


TIMED = re.compile(rb'(?:"session": (\d+)[^\n]*)?"seconds": ([\d.]+)')


def timings(file: Path) -> list[dict[str, float]]:
    """Of each line of a `timing.jsonl` its `seconds`, and its `session` where it says it; damaged lines are left out.

    Empty where there is no file that can be read.
    """
    try:
        found = TIMED.findall(file.read_bytes())
    except OSError:
        return []
    return [{'seconds': float(seconds)} | ({'session': int(session)} if session else {}) for session, seconds in found]


def by_session(lines: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Lines of a `timing.jsonl`, cut where a session of the run begins.

    Lines of earlier versions do not number their session; there, one begins where the seconds start again.
    """
    found: list[list[dict[str, Any]]] = []
    for line in lines:
        last = found[-1][-1] if found else None
        same = last is not None and line.get('session') == last.get('session')
        if same and last is not None and ('session' in line or line['seconds'] > last['seconds']):
            found[-1].append(line)
        else:
            found.append([line])
    return found


def read_results(file: Path) -> tuple[int, dict[str, dict[str, float]]]:
    """The step and the scores, representation -> score -> value, of a `results.json`.

    Raises:
      UserError: if it holds something else.
    """
    content = read_json(file)
    step, scores = content.get('step'), content.get('scores')
    rows = list(scores.values()) if isinstance(scores, dict) else [None]
    good = all(
        isinstance(row, dict) and row.keys() == rows[0].keys() and all(map(is_number, row.values())) for row in rows
    )
    if type(step) is not int or not good:
        raise UserError(f'{file} is damaged: it must hold a step and scores, a table of numbers')
    return step, content['scores']


def read_arrays(file: Path, name: str) -> 'dict[str, np.ndarray]':
    """The arrays of an npz file; pickled objects are refused.

    Args:
      file: where it lies.
      name: what the error calls it.

    Raises:
      UserError: if there is no such file, or it is damaged or no npz file.
    """
    if not file.is_file():
        raise UserError(f'{name}: there is no such file')
    try:
        content = _load(file)
    except Exception as error:
        raise UserError(f'{name} is no readable npz file of plain arrays: {type(error).__name__}: {error}') from error
    if not isinstance(content, dict):
        raise UserError(f'{name} is no npz file: it holds a single array')
    return content


def write_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an npz file, into place when it is whole: a file of that name may be there already."""
    import numpy as np

    with placed(file) as temporary, temporary.open('wb') as stream:
        np.savez(stream, **arrays)


def mapped_arrays(file: Path, name: str) -> 'dict[str, np.ndarray]':
    """As :func:`read_arrays`, with those arrays that are not compressed left in the file: read-only memory maps.

    What `numpy.savez` and `selfsup embed` write is not compressed. The checksum of such arrays is not looked at.
    """
    import zipfile

    import numpy as np

    if not file.is_file():
        raise UserError(f'{name}: there is no such file')
    try:
        found = {}
        with zipfile.ZipFile(file) as whole, file.open('rb') as stream:
            for entry in whole.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    with whole.open(entry) as part:
                        found[entry.filename.removesuffix('.npy')] = np.lib.format.read_array(part, allow_pickle=False)
                    continue
                stream.seek(entry.header_offset + 26)  # a zip's local header is 30 bytes, a name, and an extra part
                lengths = int.from_bytes(stream.read(2), 'little') + int.from_bytes(stream.read(2), 'little')
                stream.seek(entry.header_offset + 30 + lengths)
                version = np.lib.format.read_magic(stream)
                readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, dtype = readers[version](stream)
                if dtype.hasobject:
                    raise ValueError(f'its array {entry.filename!r} holds objects')
                order = 'F' if fortran else 'C'
                place = stream.tell()
                empty = 0 in shape
                found[entry.filename.removesuffix('.npy')] = (
                    np.zeros(shape, dtype) if empty else np.memmap(file, dtype, 'r', place, shape, order)
                )
        return found
    except Exception as error:
        raise UserError(f'{name} is no readable npz file of plain arrays: {type(error).__name__}: {error}') from error


def read_array(file: Path) -> 'np.ndarray':
    """The array of an npy file; pickled objects are refused.

    Raises:
      UserError: naming the file.
    """
    try:
        content = _load(file)
    except Exception as error:
        raise UserError(f'{file} cannot be read: {type(error).__name__}: {error}') from error
    if isinstance(content, dict):
        raise UserError(f'{file} is damaged: it holds several arrays')
    return content


def _load(file: Path) -> 'np.ndarray | dict[str, np.ndarray]':
    """What an npy or npz file holds; what a broken one raises is open-ended, all means the same to a user."""
    import numpy as np  # not above: every command's --help imports this module

    with file.open('rb') as stream:
        # NumPy takes anything else for a pickle, and its error offers to load that.
        if stream.read(6)[:2] not in (b'PK', b'\x93N'):
            raise ValueError('it does not begin as an npz or npy file does')
        stream.seek(0)
        content = np.load(stream, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            return content
        found = {}
        for name in content.files:
            try:
                found[name] = content[name]
            except Exception as error:
                raise ValueError(f'its array {name!r}: {error}') from error
        return found


def are_numbers(values: Any, *, positive: bool = False) -> bool:
    """Whether a value of a JSON file is a list of finite numbers, above 0 where asked."""
    good = isinstance(values, (list, tuple)) and all(is_number(v) and math.isfinite(v) for v in values)
    return good and (not positive or all(v > 0 for v in values))
