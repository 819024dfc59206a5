"""How trials ended, and their table; imports nothing heavy."""

from collections.abc import Iterable
from typing import NamedTuple

VERDICTS = ('ran', 'refused', 'unclear', 'traceback', 'lost file')
GOOD = VERDICTS[:2]


class Outcome(NamedTuple):
    """A trial's end.

    Attributes:
      kind: of mutation or damage.
      verdict: one of `VERDICTS`.
      sentence: what the command said, the last line of a traceback, or which file was lost.
      reproduce: what was run, on what.
    """

    kind: str
    verdict: str
    sentence: str
    reproduce: str


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown: kinds by verdicts."""
    outcomes = list(outcomes)
    lines = ['| kind | ' + ' | '.join(VERDICTS) + ' |', '| --- ' + '| ---: ' * len(VERDICTS) + '|']
    for kind in [*dict.fromkeys(o.kind for o in outcomes), 'all']:
        counts = [sum(o.verdict == v and kind in (o.kind, 'all') for o in outcomes) for v in VERDICTS]
        lines.append(f'| {kind} | ' + ' | '.join(map(str, counts)) + ' |')
    return '\n'.join(lines)
