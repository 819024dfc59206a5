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


def bars(axis: Any, values: Sequence[np.ndarray], *, width: float = 0.8, offset: float = 0.0, **style: Any) -> None:
    """A bar for each array of values over the seeds: its mean, and its deviation (ddof 0) as a line.

    Args:
      axis: of matplotlib.
      values: of the bars, which stand at `offset`, 1 + `offset`, …
      width, style: of the bars.
    """
    means, deviations = zip(*((v.mean(), v.std()) for v in values), strict=True)
    axis.bar(np.arange(len(values)) + offset, means, width, yerr=deviations, **style)


def shared_legend(axes: Sequence[Any], **style: Any) -> None:
    """One legend, on the first axis, of what several axes of one panel show."""
    handles, names = (a + b for a, b in zip(*(axis.get_legend_handles_labels() for axis in axes), strict=True))
    axes[0].legend(handles, names, **style)


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
