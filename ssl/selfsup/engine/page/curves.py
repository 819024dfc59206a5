"""Sections of lines: the metrics over training, and the spectra."""

from typing import Any, NamedTuple

import numpy as np

from ...evals.measures import MEASURES
from .facts import Facts, LeftOut
from .html import Html, absent, joined, tag
from .svg import Series, chart

# Title -> metric -> how it is called. Metrics that no panel names get a panel each, titled by where they were taken.
PANELS: dict[str, dict[str, str]] = {
    'Loss': {'loss': 'loss'},
    'Pairs over shuffled pairs, held out': {'alignment': 'squared distance', 'alarm/relative_alignment_limit': 'limit'},
    'Standard deviation of unit rows, held out': {
        'deviation_normalized': 'deviation',
        'alarm/deviation_normalized_limit': 'limit',
    },
    'RankMe, held out': {'rankme': 'embeddings', 'rankme_features': 'features'},
    'Effective rank of pairs, held out': {'rank': 'embeddings', 'alarm/rank_limit': 'limit'},
    'Standard deviation, held out': {'deviation': 'embeddings', 'alarm/deviation_limit': 'limit'},
    'Accuracy of the online probe': {'probe_accuracy_train': 'training batch', 'probe_accuracy': 'held out'},
    'Clusters of the method against classes, held out': {
        'assigned_accuracy_matched': 'matched accuracy',
        'assigned_nmi': 'NMI',
        'assigned_ari': 'ARI',
    },
    'Sizes of the clusters, held out': {'assigned_used': 'used', 'assigned_perplexity': 'perplexity'},
    'Learning rate': {'learning_rate': 'learning rate'},
    'Gradient norm': {'gradient_norm': 'gradient norm'},
}
MOST_PANELS = 24


class Curves(NamedTuple):
    """Panels `title -> name -> (steps, values)`, and the metrics for which there was no room."""

    panels: dict[str, dict[str, Series]]
    dropped: list[str]


def _series(lines: list[dict[str, Any]], name: str) -> Series:
    found = [(line['step'], line[name]) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]


def curves(facts: Facts) -> Curves:
    """The lines of `metrics.jsonl` as panels."""
    lines = facts.drawn.lines
    if not lines:
        raise LeftOut('There are no curves: this encoder has no metrics of training.')
    names = dict.fromkeys(name for line in lines for name in line if name != 'step' and not name.startswith('alarm/'))
    panels = {}
    for title, members in PANELS.items():
        # A limit alone is no curve.
        if any(name in names for name in members):
            panels[title] = {label: _series(lines, name) for name, label in members.items()}
            panels[title] = {label: series for label, series in panels[title].items() if series[0]}
    rest = [name for name in sorted(names) if not any(name in members for members in PANELS.values())]
    room = MOST_PANELS - len(panels)
    panels |= {_title(name): {name: _series(lines, name)} for name in rest[:room]}
    return Curves(panels, rest[room:])


def _title(name: str) -> str:
    return f'{name}, {"held out" if name in MEASURES else "training batch"}'


def curves_html(found: Curves) -> Html:
    """A chart for each panel."""
    charts = tag('div', *(chart(title, series) for title, series in found.panels.items()), class_='charts')
    left = [absent(f'Without a chart: {", ".join(found.dropped)}.')] if found.dropped else []
    return joined([charts, *left])


def spectrum(facts: Facts) -> dict[str, np.ndarray]:
    """Singular values over the largest of the test set's features and embeddings."""
    encoded = facts.drawn.encoded
    if not (np.isfinite(encoded.test.features).all() and np.isfinite(encoded.embeddings).all()):
        raise LeftOut('There is no spectrum: the features or the embeddings are not finite.')
    return facts.drawn.spectra


def spectrum_html(found: dict[str, np.ndarray]) -> Html:
    """The spectra on a logarithmic axis."""
    text = (
        'Singular values of the test set, uncentred, over the largest one. A spectrum that falls off early fills few '
        'dimensions.'
    )
    lines: dict[str, Series] = {name: (list(range(1, len(s) + 1)), s.tolist()) for name, s in found.items()}
    return joined([tag('p', text), tag('div', chart('σ / σ₁', lines, x_label='index', log=True), class_='charts')])
