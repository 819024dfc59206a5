"""The runs under a folder, listed or side by side, read from their files without starting jax: `selfsup runs`."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command, nearest
from .files import expanded, is_number, plain

USAGE = """usage: selfsup runs [FOLDER] [--sort=FIELD] [--state=a,b] [--where=FIELD=VALUE ...] [--columns=a,b] [--json]
       selfsup runs compare RUN RUN ... [--plot=FILE.png] [--json]      (or python -m selfsup.runs)

  FOLDER            runs at any depth below it; by default runs
  --sort=FIELD      a column, a measure, a score of results.json or a config field; --sort=-FIELD is descending
  --state=a,b       only runs that are running, finished, stopped, collapsed, lost or damaged
  --where F=V ...   only runs whose config has this value: --where method.name=vicreg seed=1
  --columns=a,b     more columns: measures, scores and config fields
  --json            as JSON
  compare           the config fields in which runs differ, their last measures and scores; --plot draws their curves

running: a process of this machine holds it. finished: trained and evaluated. stopped: has a checkpoint to go on from.
collapsed: finished or stopped, and the alarm of the last measurement is raised. lost: neither running nor with a
checkpoint. damaged: its config or metrics cannot be read."""
STATES = ('running', 'finished', 'stopped', 'collapsed', 'lost', 'damaged')
COLUMNS = ('run', 'state', 'method', 'step', 'loss', 'rankme', 'alignment', 'probe_accuracy', 'linear', 'minutes')
PLOTTED = ('loss', 'rankme', 'alignment', 'probe_accuracy')
TAILS = (1 << 12, 1 << 16)  # bytes of metrics.jsonl that are read from its end, the second where the first do not do


def find(root: Path) -> Iterator[Path]:
    """The folders of runs below a folder, itself included, in the order of their names."""
    file = root / 'config.json'
    if file.is_file():
        yield root
        return
    try:
        below = sorted(entry.path for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for folder in below:
        yield from find(Path(folder))


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


def _newest(lines: list[bytes], name: str) -> tuple[dict[str, float], bool]:
    """The last value of each measure, and whether a loss and a measurement are among them."""
    found: dict[str, float] = {}
    for number, line in enumerate(reversed(lines)):
        try:
            content = json.loads(line)
            good = isinstance(content, dict) and all(v is None or is_number(v) for v in content.values())
        except (ValueError, RecursionError):
            good = False
        if good:
            found = {**content, **found}
        elif number:  # the last line may be of a run that was killed, or is writing it now
            raise ValueError(f'{name} holds a line that cannot be read')
        if 'loss' in found and 'alarm/collapsed' in found:
            return found, True
    return found, False


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


def flat(config: dict[str, Any], before: str = '') -> dict[str, Any]:
    """Fields of a nested config by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f'{before}{name}.')
        else:
            found[f'{before}{name}'] = value
    return found


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
        config = flat(about['config'])
        values = last_values(folder / 'metrics.jsonl')
        results = _json(folder / 'results.json', missing=True)
        timing = last_values(folder / 'timing.jsonl')
        scores = dict(results.get('scores', {}).get('trained', {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {**found, 'state': 'damaged', 'problem': ' '.join(f'{type(error).__name__}: {error}'.split())}
    steps = _checkpoints(folder / 'checkpoints')
    step = values.get('step', max(steps, default=0))
    done = bool(results) and results.get('step') == step
    state = 'running' if is_held(folder) else 'finished' if done else 'stopped' if steps else 'lost'
    if state in ('finished', 'stopped') and values.get('alarm/collapsed'):
        state = 'collapsed'
    of = {'method': config.get('method.name'), 'total': about.get('total_steps'), 'minutes': timing.get('seconds')}
    if of['minutes'] is not None:
        of['minutes'] /= 60
    return {**found, **config, **values, **scores, **of, 'state': state, 'step': step, '_config': config}


def collect(root: Path) -> list[dict[str, Any]]:
    """Every run below a folder.

    Raises:
      UserError: if there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise UserError(f'{root} is no folder')
    found = [row for row in (read(folder, root) for folder in find(root)) if row is not None]
    if not found:
        raise UserError(f'{root} holds no runs: no config.json of selfsup train in it or below')
    return found


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
        rows = [row for row in rows if shown(row.get(field)) == wanted or str(row.get(field)) == wanted]
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


def shown(value: Any) -> str:
    """A value as a cell."""
    if value is None:
        return '-'
    text = f'{value:.4g}' if isinstance(value, float) else str(value)
    # Names may hold a line break or a tab, and a table has one line a run.
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cell(row: dict[str, Any], column: str) -> str:
    if column == 'step' and row.get('total'):
        return f'{row["step"]}/{row["total"]}'
    if column == 'state' and row.get('problem'):
        return f'damaged: {row["problem"]}'
    return shown(row.get(column))


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table; into a pipe with tabs, so that other programs can read it."""
    if not sys.stdout.isatty():
        for line in ([columns] if columns else []) + rows:
            print('\t'.join(line))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns)
    for row in rows:
        made.add_row(*(Text(text, overflow='fold') for text in row))
    Console().print(made)


def list_runs(values: dict[str, Any]) -> int:
    """`selfsup runs FOLDER`."""
    if len(values['']) > 1:
        raise UserError(f'runs lists one folder; {USAGE.splitlines()[0]}')
    rows = collect(expanded(values[''][0] if values[''] else 'runs'))
    more = [name for name in values['columns'].split(',') if name]
    known = {name for row in rows for name in row}
    for name in more:
        if name not in known:
            raise UserError(f'--columns: {name!r} is unknown{nearest(name, known)}')
    rows = kept(rows, values)
    if values['json'] == 'true':
        print(json.dumps(plain([{k: v for k, v in row.items() if k != '_config'} for row in rows]), indent=1))
        return 0
    columns = [*COLUMNS, *more]
    table(columns, [[cell(row, column) for column in columns] for row in rows])
    return 0


def compare(values: dict[str, Any]) -> int:
    """`selfsup runs compare A B`."""
    rows = [row for name in values[''][1:] for row in collect(expanded(name))]
    if len(rows) < 2:
        raise UserError('compare needs at least two runs')
    for row in rows:
        if row['state'] == 'damaged':
            raise UserError(f'{row["folder"]}: {row["problem"]}')
    labels = _labels([row['folder'] for row in rows])
    fields = sorted({name for row in rows for name in row['_config']})
    differing = [f for f in fields if len({json.dumps(row['_config'].get(f)) for row in rows}) > 1]
    measures = [m for row in rows for m in row if m not in row['_config'] and is_number(row[m]) and '/' not in m]
    measures = sorted(set(measures) - {'total'})
    if values['json'] == 'true':
        content = {
            label: {name: row.get(name) for name in (*differing, 'state', *measures)}
            for label, row in zip(labels, rows, strict=True)
        }
        print(json.dumps(plain(content), indent=1))
    else:
        lines = [['state', *(row['state'] for row in rows)]]
        lines += [[name, *(shown(row.get(name)) for row in rows)] for name in (*differing, *measures)]
        table(['', *labels], lines)
    if values['plot']:
        plot(rows, labels, expanded(values['plot']))
    return 0


def _labels(folders: list[str]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    parts = [Path(folder).absolute().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f'{folder} ({number})' for number, folder in enumerate(folders, 1)]


def plot(rows: list[dict[str, Any]], labels: list[str], file: Path) -> None:
    """Curves of the runs: a panel for each of loss, RankMe, alignment and probe accuracy that they have."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    from .files import read_jsonl

    lines = [read_jsonl(Path(row['folder']) / 'metrics.jsonl') for row in rows]
    names = [
        n for n in ('loss', 'rankme', 'alignment', 'probe_accuracy') if any(n in line for run in lines for line in run)
    ]
    figure, panels = plt.subplots(1, max(len(names), 1), figsize=(4.2 * max(len(names), 1), 3.4), squeeze=False)
    for name, panel in zip(names, panels[0], strict=False):
        for label, run in zip(labels, lines, strict=True):
            points = [(line['step'], line[name]) for line in run if name in line]
            panel.plot(*zip(*points, strict=True), label=label) if points else None
        panel.set_title(name.replace('_', ' '))
        panel.set_xlabel('step')
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        raise UserError(f'--plot={file} cannot be written: {error}') from error
    finally:
        plt.close(figure)
    print(f'curves: {file}')


OPTIONS: dict[str, str | list[str] | None] = {
    '': [], 'sort': '', 'state': '', 'where': [], 'columns': '', 'json': 'false', 'plot': '',
}  # fmt: skip


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, OPTIONS, USAGE)
    if overrides:
        raise UserError('runs reads the config of each run; choose among them by --where FIELD=VALUE')
    if values['plot'] and values[''][:1] != ['compare']:
        raise UserError('--plot goes with compare')
    return compare(values) if values[''][:1] == ['compare'] else list_runs(values)


if __name__ == '__main__':
    command(main)()
