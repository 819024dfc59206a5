"""The runs of a sweep, trained one after another or as one program."""

import sys
import traceback
from pathlib import Path
from typing import Any

from ..errors import BAD_INPUT, REQUEUE, is_full_disk, outcome
from .grid import folder_of
from .summary import row_of

Runs = dict[tuple[str, ...], Any]  # member -> its resolved config


def one_by_one(runs: Runs, root: Path, failed: list[tuple[str, ...]]) -> int:
    """Trains and evaluates runs, but for those that are finished or in `failed`, which grows: REQUEUE or 0."""
    for number, (member, run) in enumerate(runs.items(), 1):
        place = root / folder_of(member)
        row = row_of(place, run)
        done = row and row.get('done') and row.get('train.epochs') == run.train.epochs
        if member in failed or done:
            continue
        print(f'run {number} of {len(runs)}: {" ".join(member)}', flush=True)
        code = trained(run, place, ' '.join(member))
        if code == REQUEUE:
            return code
        failed += [member] * bool(code)
    return 0


def together(runs: dict[tuple[str, ...], Any], root: Path, width: int) -> list[tuple[str, ...]]:
    """Trains what one program can train, of runs that have not begun; those that failed."""
    from ..engine import members

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


def trained(run: Any, place: Path, name: str, until: float = 0.0) -> int:
    """Trains one run, up to so many epochs where `until` is not 0: its exit code, after a line on why it failed."""
    from ..engine import loop

    try:
        return loop.train(run, str(place), until=until)
    except Exception as error:
        if is_full_disk(error):  # which the next run would meet too
            raise
        print(f'error: {name}: the run failed', file=sys.stderr, flush=True)
        if outcome(error) is None:
            traceback.print_exc()
        return BAD_INPUT
