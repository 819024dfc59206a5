"""The pictures of a report; without pyplot, whose backend belongs to the user's own session or notebook."""

from pathlib import Path
from typing import Any

import numpy as np

FEWEST = 4  # rows of which a t-SNE map is drawn


def _series(lines: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    found = [(line['step'], line[name]) for line in lines if name in line]
    return [s for s, _ in found], [v for _, v in found]


def plot_training(lines: list[dict[str, Any]], file: Path) -> None:
    """Loss, RankMe, the alarm's scale-free numbers and probe accuracy over training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 3.6), layout='constrained')
    axes = figure.subplots(1, 4)
    panels: tuple[tuple[str, dict[str, str]], ...] = (
        ('loss', {'loss': 'loss'}),
        ('RankMe (held out)', {'rankme': 'embeddings', 'rankme_features': 'features'}),
        (
            'pairs over shuffled pairs (held out)',
            {'alignment': 'squared distance', 'deviation_normalized': 'deviation of units'},
        ),
        ('online probe accuracy', {'probe_accuracy_train': 'training batch', 'probe_accuracy': 'held out'}),
    )
    for axis, (title, names) in zip(axes, panels, strict=True):
        for name, label in names.items():
            steps, values = _series(lines, name)
            if steps:
                axis.plot(steps, values, label=label, linewidth=1.3, marker='.' if len(steps) < 40 else None)
        axis.set(title=title, xlabel='step')
        axis.grid(alpha=0.3)
        if len(names) > 1 and axis.lines:
            axis.legend()
    figure.savefig(file, dpi=120)


def map_of(features: np.ndarray) -> np.ndarray | str:
    """t-SNE places `[n, 2]` of features `[n, dim]`, or the reason why there are none.

    Features that are all equal, or not finite, would end scikit-learn's process by a segmentation fault: its start
    is the first two principal components divided by their deviation.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(features) < FEWEST:
        return f'there are {len(features)} of them, and a map needs {FEWEST}'
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0).max()
    if not np.isfinite(spread):
        return 'they are not finite'
    if spread <= 1e-7 * np.abs(features).max():
        return 'they are all equal'
    shown = (centred / spread).astype(np.float32)
    start = 'pca' if shown.shape[1] > 1 else 'random'
    with threadpool_limits(1):  # its short parallel loops spin, and on a busy machine take a hundred times as long
        return TSNE(random_state=0, init=start, perplexity=min(30, max(2, len(shown) // 4))).fit_transform(shown)


def plot_features(
    spectra: dict[str, np.ndarray],
    places: np.ndarray | str,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    file: Path,
) -> str:
    """Singular spectra, each over its largest value, and the t-SNE map of test features by label.

    Args:
      spectra: name -> singular values.
      places: `[n, 2]`, of the first n test features, or the reason why there is no map.
      labels: of the test features, −1 where unknown.
      class_names: of the labels.
      file: what is written.

    Returns '', or a sentence on why there is no map.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout='constrained')
    left, right = figure.subplots(1, 2)
    for name, spectrum in spectra.items():
        left.semilogy(np.arange(1, len(spectrum) + 1), spectrum, label=name)
    left.set(title='singular spectrum (uncentred)', xlabel='index', ylabel='σ / σ₁')
    left.grid(alpha=0.3)
    left.legend()
    if isinstance(places, str):
        note = f'No map of the test features: {places}.'
        right.text(0.5, 0.5, note, ha='center', va='center', wrap=True)
        right.set(title='t-SNE of test features', xticks=[], yticks=[])
    else:
        note = ''
        _scatter(right, places, labels[: len(places)], class_names)
        right.set(title=f't-SNE of {len(places)} test features', xticks=[], yticks=[])
    figure.savefig(file, dpi=120)
    return note


def _scatter(axis: Any, places: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    """Points in the colour of their class, with a legend where there are at most 20."""
    from matplotlib import colormaps

    colours = colormaps['tab10' if len(class_names) <= 10 else 'tab20']
    for label in np.unique(labels)[:20]:
        member = labels == label
        # matplotlib would set what stands between two dollars as a formula.
        name = class_names[label].replace('$', r'\$') if 0 <= label < len(class_names) else None
        axis.scatter(*places[member].T, s=9, color=colours(int(max(label, 0)) % colours.N), label=name)
    if 0 < len(class_names) <= 20:
        axis.legend(markerscale=2, fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))


# Panels of the picture over depth: title, the numbers in it, and whether an axis from 0 to 1 is meant.
DEPTH_PANELS = (
    ('accuracy on test', ('linear', 'knn', 'lens'), True),
    ('CKA to the features', ('cka_last',), True),
    ('mean canonical correlation', ('cca_pixels', 'cca_labels', 'cca_pixels_chance', 'cca_labels_chance'), True),
    ('intrinsic dimension', ('two_nn', 'lid_mle'), False),
    ('RankMe', ('rankme',), False),
    ('hubness (skewness of 10-occurrence)', ('hub_skewness',), False),
)


def plot_layers(rows: list[dict[str, Any]], title: str, file: Any) -> None:
    """The numbers of :func:`selfsup.evals.layers` as lines over depth; what no row has is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 8), layout='constrained')
    figure.suptitle(title.replace('$', r'\$'))
    places = np.arange(len(rows))
    for axis, (name, numbers, shares) in zip(figure.subplots(2, 3).ravel(), DEPTH_PANELS, strict=True):
        for number in (n for n in numbers if any(n in row for row in rows)):
            values = [row.get(number, np.nan) for row in rows]
            chance = number.endswith('_chance')
            style = {'color': '0.6', 'linestyle': '--' if 'pixels' in number else ':'} if chance else {'marker': 'o'}
            axis.plot(places, values, label=number.replace('_chance', ', rows shuffled'), **style)
        axis.set(title=name)
        axis.set_xticks(places, [row['layer'] for row in rows], rotation=60, ha='right', fontsize=8)
        axis.grid(alpha=0.3)
        if shares:
            axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.02)
        if len(numbers) > 1:
            axis.legend(fontsize=8)
    figure.savefig(file, dpi=100, format='png')
