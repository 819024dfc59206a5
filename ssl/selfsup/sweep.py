"""One run for each combination of values, and their table: `selfsup sweep`."""

import hashlib
import itertools
import re
import statistics
import sys
import traceback
from pathlib import Path
from typing import Any

from . import cli
from .errors import BAD_INPUT, REQUEUE, UserError, command, is_full_disk, outcome
from .files import expanded, is_number

USAGE = """usage: selfsup sweep CONFIG --grid FIELD=VALUES ... [--workdir=FOLDER] [--shard=I/N] [--together] [--table]

  CONFIG             as of selfsup train; field=value and --config.field=value hold for every run
  --grid F=V ...     fields and their values: --grid seed=0..4 method.temperature=0.1,0.2; a value that holds commas
                     stands in brackets, model.widths=(8,16),(16,32). Every combination is a run
  --workdir=FOLDER   gets a folder for each run; by default runs/sweeps/<folder>/<name> of the config
  --shard=I/N        only every N-th run from the I-th (from 0): one process each of a job array, in the same --workdir
  --together         runs that differ in learning rates, weights, temperatures and other numbers alone train as one
                     program: compiled once, with shared views. A program that is interrupted starts again
  --width=N          with --together, runs that train side by side; by default all, and on a CPU one after another
  --table            trains nothing and prints the table of what is there

Other runs are trained one after another; those that are finished are left as they are, and those that were stopped go
on. A run that fails is told of, and the others go on. The table has a row for each combination, its scores as mean ±
standard deviation over seeds."""
LONGEST = 180  # characters of a folder's name; longer ones are cut, with a hash
SCORES = ('rankme', 'probe_accuracy', 'knn', 'linear_1', 'linear_10', 'linear')
MOST = 10_000  # runs of a sweep


def values_of(text: str) -> list[str]:
    """The values of a grid's field: `0..4` counts, commas outside brackets divide."""
    counted = re.fullmatch(r'(-?\d{1,9})\.\.(-?\d{1,9})', text)
    if counted:
        first, last = int(counted[1]), int(counted[2])
        if not 0 <= last - first < MOST:
            raise UserError(f'--grid: {text} must count upwards, over at most {MOST:,} values')
        return [str(value) for value in range(first, last + 1)]
    found, depth = [''], 0
    for letter in text:
        depth += (letter in '([{') - (letter in ')]}')
        if letter == ',' and depth == 0:
            found.append('')
        else:
            found[-1] += letter
    if '' in found or len(set(found)) < len(found):
        raise UserError(f'--grid: {text!r} has {"an empty value" if "" in found else "a value twice"}')
    return found


def members(grid: list[str]) -> list[tuple[str, ...]]:
    """Every combination of a grid as `field=value` overrides, the last field changing fastest.

    Raises:
      UserError: for words that are no FIELD=VALUES, a field named twice, or too many runs.
    """
    fields: dict[str, list[str]] = {}
    for word in grid:
        field, equals, text = word.partition('=')
        if not equals or not field:
            raise UserError(f'--grid {word}: must be FIELD=VALUES, such as seed=0..4')
        if field in fields:
            raise UserError(f'--grid names {field} twice')
        fields[field] = values_of(text)
    count = 1
    for values in fields.values():
        count *= len(values)
    if count > MOST:
        raise UserError(f'--grid has {count:,} runs; a sweep has at most {MOST:,}')
    return list(itertools.product(*([f'{field}={value}' for value in values] for field, values in fields.items())))


def folder_of(member: tuple[str, ...]) -> str:
    """The name of a run's folder."""
    name = ','.join(member).replace('/', '_')
    if len(name.encode()) <= LONGEST:
        return name
    return name[: LONGEST // 4] + '-' + hashlib.sha256(','.join(member).encode()).hexdigest()[:16]


def shard_of(text: str) -> tuple[int, int]:
    """Which runs, `I/N`."""
    found = re.fullmatch(r'(\d{1,6})/(\d{1,6})', text)
    if not found or int(found[1]) >= int(found[2]):
        raise UserError(f'--shard={text} must be I/N with I from 0 to below N')
    return int(found[1]), int(found[2])


def cells(rows: list[dict[str, Any]], score: str) -> str:
    """Mean and standard deviation (ddof 1) of a score over runs; '-' where none has it."""
    values = [row[score] for row in rows if is_number(row.get(score))]
    if not values:
        return '-'
    spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'{statistics.fmean(values):.3f}{spread}'


def table(rows: dict[tuple[str, ...], dict[str, Any] | None]) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of the table: combinations without their seed, and what became of their runs."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for member, row in rows.items():
        groups.setdefault(tuple(word for word in member if not word.startswith('seed=')), []).append(
            row or {'state': 'missing'}
        )
    have = [score for score in SCORES if any(is_number(row.get(score)) for found in groups.values() for row in found)]
    lines = []
    for names, found in groups.items():
        states = [row['state'] for row in found]
        told = ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))
        lines.append([' '.join(names) or 'all', told, *(cells(found, score) for score in have)])
    return ['combination', 'runs', *have], lines


def main(arguments: list[str]) -> int:
    options: cli.Options = {
        '': [], 'config': '', 'workdir': '', 'grid': [], 'shard': '0/1', 'table': 'false', 'together': 'false',
        'width': '0',
    }  # fmt: skip
    values, overrides = cli.parse(arguments, options, USAGE)
    path, more = cli.config_of(values, USAGE)
    overrides += more
    if not values['grid']:
        raise UserError(f'--grid is missing; {USAGE.splitlines()[0]}')
    combinations = members(values['grid'])
    which, of = shard_of(values['shard'])
    root = expanded(values['workdir'] or str(Path('runs') / 'sweeps' / cli.place_of(path)))
    cli.prepare()
    from . import config

    # All are resolved first, so that a mistake in the last does not show after days.
    resolved = {member: config.load(path, [*overrides, *member]) for member in combinations}
    width = cli.integer('width', values['width'])
    failed: list[tuple[str, ...]] = []
    if values['table'] == 'false':
        mine = combinations[which::of]
        if values['together'] == 'true':
            failed += _together({member: resolved[member] for member in mine}, root, width)
        for number, member in enumerate(mine, 1):
            place = root / folder_of(member)
            if member in failed:
                continue
            row = row_of(place, resolved[member])
            if row and row.get('done') and row.get('train.epochs') == resolved[member].train.epochs:
                continue
            print(f'run {number} of {len(mine)}: {" ".join(member)}', flush=True)
            code = _trained(resolved[member], place, ' '.join(member))
            if code == REQUEUE:
                return code
            failed += [member] * bool(code)
    from .runs import tables

    tables.table(*table({member: row_of(root / folder_of(member), resolved[member]) for member in combinations}))
    return BAD_INPUT if failed else 0


def _together(runs: dict[tuple[str, ...], Any], root: Path, width: int) -> list[tuple[str, ...]]:
    """Trains what one program can train, of runs that have not begun; those that failed."""
    from .engine import members

    failed = []
    begun = {member: run for member, run in runs.items() if not (root / folder_of(member) / 'config.json').is_file()}
    for group in members.grouped(begun):
        if group.alone:
            print(f'one after another: {group.alone}', flush=True)
        if group.alone or len(group.names) < 2:
            continue
        print(f'{len(group.names)} runs as one program, which differ in {", ".join(group.members[0])}', flush=True)
        places = [root / folder_of(member) for member in group.names]
        wrong = members.train([runs[member] for member in group.names], places, group.members, width=width)
        for member, what in zip(group.names, wrong, strict=True):
            if what:
                print(f'error: {" ".join(member)}: {what}', file=sys.stderr, flush=True)
                failed.append(member)
    return failed


def _trained(run: Any, place: Path, name: str) -> int:
    """Trains one run: its exit code, after a line that says why where it failed."""
    from .engine import loop

    try:
        return loop.train(run, str(place))
    except Exception as error:
        if is_full_disk(error):  # which the next run would meet too
            raise
        print(f'error: {name}: the run failed', file=sys.stderr, flush=True)
        if outcome(error) is None:
            traceback.print_exc()
        return BAD_INPUT


def row_of(place: Path, run: Any) -> dict[str, Any] | None:
    """What is known of the run in a folder; None where there is none, state 'other config' where it is of another."""
    from . import config
    from .files import read_json
    from .runs.listing import read

    if not (place / 'config.json').is_file():
        return None
    row = read(place, place.parent)
    if row is None or row['state'] == 'damaged':
        return row
    if config.differences(config.from_dict(read_json(place / 'config.json')['config']), run):
        return {'state': 'other config'}
    return row


if __name__ == '__main__':
    command(main)()
