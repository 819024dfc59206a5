"""What the files of runs say of them, without starting jax."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..files import by_session, flatten, folder_exists, is_folder, is_number, printable, timings

STATES = ('running', 'finished', 'stopped', 'collapsed', 'lost', 'damaged')
TAILS = (1 << 12, 1 << 16)  # bytes of metrics.jsonl that are read from its end, the second where the first do not do


def find(root: Path) -> Iterator[Path]:
    """The folders of runs below a folder, itself included, in the order of their names."""
    file = root / 'config.json'
    if file.is_file():
        yield root
        return
    try:
        below = sorted((entry.path, entry.is_symlink()) for entry in os.scandir(root) if is_folder(entry))
    except OSError:
        return
    for folder, linked in below:
        # A link may lead back to where it stands, so that nothing below it is looked for.
        if not linked:
            yield from find(Path(folder))
        elif (Path(folder) / 'config.json').is_file():
            yield Path(folder)


def last_values(file: Path) -> dict[str, float]:
    """Each measure's last value in a file of metrics, from its last lines; a line cut short at the end is left out.

    Lines are read from the end until a loss and a measurement are found, at most 64 KiB.

    Raises:
      ValueError: for a line that is no JSON object of numbers.
    """
    try:
        stream = file.open('rb')
    except FileNotFoundError:
        return {}
    with stream:
        size = stream.seek(0, os.SEEK_END)
        for length in TAILS:
            stream.seek(max(size - length, 0))
            lines = stream.read().splitlines()
            found, done = _newest(lines[1:] if size > length else lines, file.name)
            if done or size <= length:
                break
    return found


def trained_seconds(file: Path) -> float | None:
    """Seconds of training over all sessions of a run: each counts from its own start."""
    found = by_session(timings(file))
    return sum(session[-1]['seconds'] for session in found) if found else None


def _newest(lines: list[bytes], name: str) -> tuple[dict[str, float], bool]:
    """The last value of each measure, and whether a loss and a measurement are among them."""
    found: dict[str, float] = {}
    for number, line in enumerate(reversed(lines)):
        content = _numbers(line)
        if content is not None:
            found = {**content, **found}
        elif number:  # the last line may be of a run that was killed, or is writing it now
            raise ValueError(f'{name} holds a line that cannot be read')
        if 'loss' in found and 'alarm/collapsed' in found:
            return found, True
    return found, False


def _numbers(line: bytes) -> dict[str, float] | None:
    """The JSON object of numbers that a line is; None for anything else."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(content, dict) and all(value is None or is_number(value) for value in content.values())
    return content if good else None


def is_held(folder: Path) -> bool:
    """Whether a process of this machine works in a run's folder."""
    try:
        with (folder / '.lock').open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _checkpoints(folder: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
    except OSError:
        return []


def _json(file: Path, *, missing: bool = False) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        if missing:
            return {}
        raise
    if not isinstance(content, dict):
        raise ValueError(f'{file.name} holds no JSON object')
    return content


def read(folder: Path, root: Path) -> dict[str, Any] | None:
    """What is known of a run, by column, measure, score and config field; None for a folder that is no run.

    A run that cannot be read has the state 'damaged' and the reason as `problem`.
    """
    name = str(folder.relative_to(root)) if folder != root else folder.name
    found: dict[str, Any] = {'run': name, 'folder': str(folder)}
    try:
        about = _json(folder / 'config.json')
        if 'config' not in about and 'identity' not in about:  # an encoder that was exported
            return None
        config = flatten(about['config'])
        values = last_values(folder / 'metrics.jsonl')
        results = _json(folder / 'results.json', missing=True)
        seconds = trained_seconds(folder / 'timing.jsonl')
        trained = dict(results.get('scores', {}).get('trained', {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {**found, 'state': 'damaged', 'problem': ' '.join(f'{type(error).__name__}: {error}'.split())}
    steps = _checkpoints(folder / 'checkpoints')
    step = values.get('step', max(steps, default=0))
    done = bool(results) and results.get('step') == step
    scores = trained if done else {}  # those of another step say nothing of this one
    state = 'running' if is_held(folder) else 'finished' if done else 'stopped' if steps else 'lost'
    if state in ('finished', 'stopped') and values.get('alarm/collapsed'):
        state = 'collapsed'
    report = (folder / 'report.html').is_file()
    of = {
        'report': report,
        'done': done,
        'method': config.get('method.name'),
        'total': about.get('total_steps'),
        'minutes': seconds and seconds / 60,
    }
    return {**found, **config, **values, **scores, **of, 'state': state, 'step': step, '_config': config}


def collect(root: Path) -> list[dict[str, Any]]:
    """Every run below a folder.

    Raises:
      UserError: if there is no such folder, or no run in it.
    """
    if not folder_exists(root):
        raise UserError(f'{root} is no folder; name one that holds runs, or train a run: selfsup train digits/vicreg')
    found = [row for row in (read(folder, root) for folder in find(root)) if row is not None]
    if not found:
        raise UserError(f'{root} holds no runs: no config.json of selfsup train in it or below')
    return found


def shown(value: Any) -> str:
    """A value as a cell."""
    if value is None:
        return '-'
    text = f'{value:.4g}' if isinstance(value, float) else str(value)
    return printable(text)


def _bare(text: str) -> str:
    """A value without what people write differently: `(8, 16)` and `[8,16]`, `True` and `true`."""
    return text.replace(' ', '').strip('[]()').lower()


def kept(rows: list[dict[str, Any]], values: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that options choose, in their order.

    Raises:
      UserError: for an unknown state or field.
    """
    known = {name for row in rows for name in row if not name.startswith('_')}
    states = [state for state in values['state'].split(',') if state]
    for state in states:
        if state not in STATES:
            raise UserError(f'--state={state} is unknown{nearest(state, STATES)}')
    rows = [row for row in rows if not states or row['state'] in states]
    for condition in values['where']:
        field, equals, wanted = condition.partition('=')
        if not equals:
            raise UserError(f'--where {condition} must be FIELD=VALUE')
        if field not in known:
            raise UserError(f'--where: {field!r} is unknown{nearest(field, known)}')
        rows = [row for row in rows if _bare(wanted) in (_bare(shown(row.get(field))), _bare(str(row.get(field))))]
    by = values['sort'].removeprefix('-')
    if by:
        if by not in known:
            raise UserError(f'--sort={by} is unknown{nearest(by, known)}')
        numbers = [row for row in rows if is_number(row.get(by))]
        words = [row for row in rows if row.get(by) is not None and not is_number(row.get(by))]
        rest = [row for row in rows if row.get(by) is None]
        down = values['sort'].startswith('-')
        numbers = sorted(numbers, key=lambda row: row[by], reverse=down)
        rows = numbers + sorted(words, key=lambda row: str(row[by]), reverse=down) + rest
    return rows
