"""The collapse alarm in the lines of metrics: whether it is raised, by which numbers, and whether a run ends."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from .. import diagnostics
from ..evals.measures import ALARM_NUMBERS
from ..evals.model_selection import goodness

# Flags of every measurement; of pairs of views there is `alarm/unaligned` besides, with its number `alignment`.
ALARM_FLAGS = {f'alarm/{flag}' for flag in ('shrunk', 'narrow', 'flat', 'collapsed')}


def limits(config: ConfigDict) -> dict[str, float]:
    """The limits of the alarm, by its keywords."""
    c = config.monitor
    return {
        'deviation': c.least_deviation,
        'deviation_normalized': c.least_deviation_normalized,
        'relative_alignment_limit': c.most_alignment,
        'rank': c.least_rank,
    }


def measurements(lines: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Those lines of metrics that hold the alarm's flags."""
    return [line for line in lines if line.keys() >= ALARM_FLAGS]


def alarm_of(line: dict[str, float]) -> dict[str, float] | None:
    """The result of `collapse_alarm` from a line of metrics; None where the line has none, or not the whole."""
    alarm = {key.removeprefix('alarm/'): value for key, value in line.items() if key.startswith('alarm/')}
    # One number for each limit, and without a pair of views there is none of alignment.
    numbers = {key: name for key, name in ALARM_NUMBERS.items() if f'{key}_limit' in alarm}
    paired = ('unaligned' in alarm) == ('relative_alignment' in numbers)
    alone = {'deviation', 'deviation_normalized', 'rank'}
    if not measurements([line]) or not paired or not line.keys() >= {*numbers.values()} or not numbers.keys() >= alone:
        return None
    return alarm | {key: line[name] for key, name in numbers.items()}


def verdict(line: dict[str, float]) -> str:
    """One sentence on a line of metrics: collapsed or not, and by which numbers; '' where there is no alarm in it."""
    alarm = alarm_of(line)
    return '' if alarm is None else diagnostics.evidence(alarm)


def raised(line: dict[str, float], *, warm: int, half: int) -> bool:
    """Whether a measurement counts as a collapse.

    Nothing counts during the warm-up. Pairs as far apart as shuffled pairs count from half of the run on: slow
    methods (TiCo, LeJEPA) come below the limit late, and stay below it.
    """
    if line['step'] < warm:
        return False
    return bool(
        line['alarm/shrunk']
        or line['alarm/narrow']
        or line['alarm/flat']
        or (line.get('alarm/unaligned', 0.0) and line['step'] >= half)
    )


def collapsed(lines: list[dict[str, float]], *, warm: int, half: int) -> bool:
    """Whether the last two measurements are both :func:`raised`: one may be passing."""
    measured = measurements(lines)[-2:]
    return len(measured) == 2 and all(raised(line, warm=warm, half=half) for line in measured)


def exhausted(lines: list[dict[str, float]], *, name: str, patience: int) -> bool:
    """Whether none of the last `patience` measurements bettered the best before them; 0 never ends a run."""
    values = [goodness(line, name) for line in lines if name in line]
    return bool(patience) and len(values) > patience and max(values[-patience:]) <= max(values[:-patience])
