"""What a finding is: a paper's claim, what is asserted of our numbers beforehand, and what is only reported."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Numbers = Mapping[str, Sequence[float]]  # name -> one value a seed
Check = Callable[[dict[str, np.ndarray]], bool]


class Finding(NamedTuple):
    """One finding.

    Attributes:
      title: of its page.
      paper: with its address.
      claim: what the paper says, in our words.
      setup: what is done here.
      measure: seed -> numbers; nothing else decides them.
      asserted: sentence -> whether the numbers (arrays over seeds) hold it; written before the numbers were seen, but
        where the page says so.
      reported: what else the numbers show, in prose.
      draw: numbers (arrays over seeds) and a matplotlib axis -> None.
      seeds: of the recorded numbers.
    """

    title: str
    paper: str
    claim: str
    setup: str
    measure: Callable[[int], dict[str, float]]
    asserted: Mapping[str, Check]
    reported: str
    draw: Callable[[dict[str, np.ndarray], Any], None]
    seeds: tuple[int, ...] = (0, 1, 2)


def arrays(numbers: Numbers) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, np.float64) for name, values in numbers.items()}


def held(finding: Finding, numbers: Numbers) -> dict[str, bool]:
    """Sentence -> whether it holds for the numbers."""
    found = arrays(numbers)
    return {sentence: bool(check(found)) for sentence, check in finding.asserted.items()}


def cell(values: np.ndarray) -> str:
    """Mean ± deviation over the seeds (ddof 0)."""
    mean, deviation = f'{values.mean():.4g}', f'{values.std():.2g}'
    return mean if len(values) == 1 or values.std() == 0 else f'{mean} ± {deviation}'


def lines(found: dict[str, np.ndarray], prefix: str, keys: Sequence[Any]) -> np.ndarray:
    """Means over the seeds of `<prefix><key>` for each key."""
    return np.array([found[f'{prefix}{key}'].mean() for key in keys])


def page(name: str, finding: Finding, recorded: Mapping[str, Any]) -> str:
    """docs/findings/<name>.md from the recorded numbers and seconds."""
    numbers, found = recorded['numbers'], arrays(recorded['numbers'])
    verdicts = held(finding, numbers)
    asserted = [f'- {"Holds" if good else "**Does not hold**"}: {sentence}' for sentence, good in verdicts.items()]
    rows = [f'| `{key}` | {cell(values)} |' for key, values in found.items()]
    seeds = ', '.join(str(seed) for seed in recorded['seeds'])
    return '\n'.join(
        [
            f'# {finding.title}',
            '',
            f'{finding.paper}',
            '',
            f'**Claim.** {finding.claim}',
            '',
            f'**Here.** {finding.setup}',
            '',
            'Asserted beforehand:',
            '',
            *asserted,
            '',
            f'Only reported: {finding.reported}',
            '',
            f'![{finding.title}]({name}.png)',
            '',
            '| number | mean ± deviation over seeds |',
            '| --- | ---: |',
            *rows,
            '',
            f'`python -m experiments.tables.findings {name}`: seeds {seeds}, {recorded["seconds"]:.0f} s of processor '
            'time on a shared CPU.',
            '',
        ]
    )
