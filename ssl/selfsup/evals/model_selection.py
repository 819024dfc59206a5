"""Choosing a run by one number, and what the choice costs where there are labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UserError, nearest

# Measure -> how good a value is, more being better. Others, such as accuracies, are good when large.
MERITS: dict[str, Callable[[float], float]] = {
    'alpha_req': lambda alpha: -abs(alpha - 1.0),
    'loss': lambda value: -value,
    'alignment': lambda value: -value,
    'uniformity': lambda value: -value,
    'correlation': lambda value: -value,
}


def goodness(measures: Mapping[str, float], by: str) -> float:
    """How good a measure's value is, more being better; −∞ where it is missing or not finite."""
    value = MERITS.get(by, lambda x: x)(measures.get(by, math.nan))
    return value if math.isfinite(value) else -math.inf


class Candidate(NamedTuple):
    """A run to choose from.

    Attributes:
      name: of the run.
      method: runs of one method are compared with one another.
      measures: name -> value; label-free ones and others.
      collapsed: whether the alarm flagged the run.
      accuracy: what the choice is judged by; NaN where there are no labels.
    """

    name: str
    method: str
    measures: dict[str, float]
    collapsed: bool = False
    accuracy: float = math.nan


def merit(candidate: Candidate, by: str) -> float:
    """How good the candidate is by a measure; −∞ where that is not finite."""
    if by not in candidate.measures:
        raise UserError(f'{candidate.name} has no measure {by!r}{nearest(by, candidate.measures)}')
    return goodness(candidate.measures, by)


def ranked(candidates: Sequence[Candidate], by: str, *, alarm: bool = True) -> list[Candidate]:
    """Candidates from best to worst by a measure; with `alarm`, without those that it flagged."""
    left = [c for c in candidates if not (alarm and c.collapsed)]
    return sorted(left, key=lambda c: (-merit(c, by), c.name))


def regret(candidates: Sequence[Candidate], by: str, *, alarm: bool = True) -> float:
    """Accuracy of the best candidate of all less that of the one that the measure chooses; NaN if none is left.

    The oracle chooses among all candidates, so a good run that the alarm flags costs something too.
    """
    order = ranked(candidates, by, alarm=alarm)
    return max(c.accuracy for c in candidates) - order[0].accuracy if order else math.nan


def kendall(
    candidates: Sequence[Candidate], by: str, *, alarm: bool = False, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Kendall's τ_b between a measure's merit and accuracy, and its 95 % percentile-bootstrap interval over runs.

    NaN with fewer than three runs, or where either is constant.
    """
    left = ranked(candidates, by, alarm=alarm)
    merits, accuracies = np.array([merit(c, by) for c in left]), np.array([c.accuracy for c in left])

    # Merits may be −∞, so pairs are compared, not subtracted.
    signs = [np.sign((v[:, None] > v[None]) * 1.0 - (v[:, None] < v[None])) for v in (merits, accuracies)]

    def tau(rows: np.ndarray) -> float:
        x, y = (sign[rows[:, None], rows[None]] for sign in signs)
        norm = math.sqrt(np.sum(x * x) * np.sum(y * y))
        return float(np.sum(x * y) / norm) if norm > 0 and len(rows) > 2 else math.nan

    generator = np.random.default_rng(seed)
    found = [tau(generator.integers(0, len(left), len(left))) for _ in range(draws)] if len(left) > 2 else []
    found = [t for t in found if not math.isnan(t)]
    low, high = np.percentile(found, [2.5, 97.5]) if found else (math.nan, math.nan)
    return tau(np.arange(len(left))), float(low), float(high)
