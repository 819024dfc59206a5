"""The table of a sweep: what became of the runs of each combination, and their scores."""

import statistics
from pathlib import Path
from typing import Any

from ..files import is_number, read_json
from ..runs.listing import read
from .grid import combinations

SCORES = ('rankme', 'probe_accuracy', 'knn', 'linear_1', 'linear_10', 'linear')


def cells(rows: list[dict[str, Any]], score: str) -> str:
    """Mean and standard deviation (ddof 1) of a score over runs; '-' where none has it."""
    values = [row[score] for row in rows if is_number(row.get(score))]
    if not values:
        return '-'
    spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'{statistics.fmean(values):.3f}{spread}'


def summary(rows: dict[tuple[str, ...], dict[str, Any] | None]) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of the table: combinations without their seed, and what became of their runs."""
    groups = {name: [rows[m] or {'state': 'missing'} for m in runs] for name, runs in combinations(rows).items()}
    have = [score for score in SCORES if any(is_number(row.get(score)) for found in groups.values() for row in found)]
    lines = []
    for name, found in groups.items():
        states = [row['state'] for row in found]
        told = ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))
        lines.append([name, told, *(cells(found, score) for score in have)])
    return ['combination', 'runs', *have], lines


def row_of(place: Path, run: Any) -> dict[str, Any] | None:
    """What is known of the run in a folder; None where there is none, state 'other config' where it is of another."""
    from .. import config

    if not (place / 'config.json').is_file():
        return None
    row = read(place, place.parent)
    if row is None or row['state'] == 'damaged':
        return row
    if config.differences(config.from_dict(read_json(place / 'config.json')['config']), run):
        return {'state': 'other config'}
    return row
