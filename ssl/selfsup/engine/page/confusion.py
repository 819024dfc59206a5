"""Section: which classes the linear probe takes for which."""

from typing import NamedTuple

import numpy as np

from .facts import Facts
from .html import Html, joined, short, table, tag

MOST_CLASSES = 20  # of a whole matrix; above, the most frequent confusions are listed
LISTED = 20


class Confusion(NamedTuple):
    """Test rows of each true class by predicted class.

    Attributes:
      names: of the classes that occur, `C`.
      counts: `[C, C]`, rows are true classes; of more than `MOST_CLASSES` classes None.
      pairs: (true, predicted, count, share of the true class) of the most frequent confusions.
      accuracy, rows, fitted: share that is right, of how many test rows, by a probe on how many training rows.
    """

    names: list[str]
    counts: np.ndarray | None
    pairs: list[tuple[str, str, int, float]]
    accuracy: float
    rows: int
    fitted: int


def confusion(facts: Facts) -> Confusion:
    """Counts of the linear probe's predictions, of pairs alone where there are many classes."""
    probe = facts.probe
    classes, codes = np.unique(np.concatenate([probe.labels, probe.predicted]), return_inverse=True)
    true, predicted = np.split(codes, 2)
    pairs, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    totals = np.bincount(true, minlength=len(classes))
    wrong = np.flatnonzero(pairs[0] != pairs[1])
    order = wrong[np.argsort(-counts[wrong], kind='stable')][:LISTED]
    names = [facts.class_name(int(label)) for label in classes] if len(classes) <= MOST_CLASSES else []
    matrix = None
    if names:
        matrix = np.zeros((len(names), len(names)), np.int64)
        matrix[pairs[0], pairs[1]] = counts
    listed = [
        (
            facts.class_name(int(classes[pairs[0, i]])),
            facts.class_name(int(classes[pairs[1, i]])),
            int(counts[i]),
            float(counts[i] / totals[pairs[0, i]]),
        )
        for i in order
    ]
    return Confusion(names, matrix, listed, float(np.mean(true == predicted)), len(true), probe.fitted)


def _cell(count: int, total: int, *, right: bool) -> Html:
    share = round(count / total, 2) if total else 0.0
    colour = '0,114,178' if right else '213,94,0'
    style = f'background:rgba({colour},{share:.2f})' + (';color:#fff' if share > 0.6 else '') if count else None
    return tag('span', str(count) if count else '·', class_='cell', style=style)


def confusion_html(found: Confusion) -> Html:
    """The matrix, or the most frequent confusions."""
    text = (
        f'Linear probe of the trained encoder, fitted on {found.fitted:,} training rows: {found.accuracy:.3f} of '
        f'{found.rows:,} test rows right.'
    )
    parts = [tag('p', text)]
    if found.counts is not None:
        rows = []
        for i, name in enumerate(found.names):
            total = int(found.counts[i].sum())
            cells = (_cell(int(n), total, right=i == j) for j, n in enumerate(found.counts[i]))
            rows.append([short(name, 24), *cells, f'{found.counts[i, i] / total:.2f}' if total else '–'])
        headings = ['true ↓ predicted →', *(short(name, 12) for name in found.names), 'right']
        parts.append(table(headings, rows, label='Confusion matrix', class_='matrix'))
    if not found.pairs:
        return joined([*parts, tag('p', 'No class is taken for another.')])
    listed = [[short(t, 40), short(p, 40), f'{n:,}', f'{share:.1%}'] for t, p, n, share in found.pairs]
    headings = ('true', 'predicted', 'test rows', 'of the true class')
    inner = table(headings, listed, label='Most frequent confusions')
    if found.counts is None:
        return joined([*parts, tag('p', f'The most frequent confusions of more than {MOST_CLASSES} classes.'), inner])
    return joined([*parts, tag('details', tag('summary', 'Most frequent confusions'), inner)])
