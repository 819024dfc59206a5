"""The runs of a sweep: combinations of values, their folders, and the shard of one process."""

import hashlib
import itertools
import re
from collections.abc import Iterable

from ..errors import UserError

LONGEST = 180  # characters of a folder's name; longer ones are cut, with a hash
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


def combinations(runs: Iterable[tuple[str, ...]]) -> dict[str, list[tuple[str, ...]]]:
    """Runs by the combination that each is a seed of, in the order of the first; 'all' where only seeds differ."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for member in runs:
        name = ' '.join(word for word in member if not word.startswith('seed='))
        found.setdefault(name or 'all', []).append(member)
    return found


def shard_of(text: str) -> tuple[int, int]:
    """Which runs, `I/N`."""
    found = re.fullmatch(r'(\d{1,6})/(\d{1,6})', text)
    if not found or int(found[1]) >= int(found[2]):
        raise UserError(f'--shard={text} must be I/N with I from 0 to below N')
    return int(found[1]), int(found[2])
