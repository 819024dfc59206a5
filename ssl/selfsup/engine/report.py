"""What a run ends with: the table of probes, the plots, and `report.md`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from .. import diagnostics
from ..evals import Features, knn, linear_probe
from .alarm import measurements, verdict
from .build import Data
from .encoder import Encoder

REPRESENTATIONS = {'trained': 'trained encoder', 'untrained': 'untrained encoder', 'pixels': 'raw pixels'}


def pixels(images: np.ndarray) -> np.ndarray:
    """Flat pixel values in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def representations(data: Data, encoder: Encoder, untrained: Encoder | None) -> dict[str, tuple[Features, Features]]:
    """Train and test features of the encoder, of the untrained encoder and of the raw pixels."""
    (train, train_labels, _), (test, test_labels, _) = data.labelled.arrays(), data.test.arrays()
    found = {'trained': (encoder(train), encoder(test))}
    if untrained is not None:
        found['untrained'] = (untrained(train), untrained(test))
    found['pixels'] = (pixels(train), pixels(test))
    return {
        name: (Features(ours, train_labels), Features(theirs, test_labels)) for name, (ours, theirs) in found.items()
    }


def scores(config: ConfigDict, features: dict[str, tuple[Features, Features]]) -> dict[str, dict[str, float]]:
    """k-NN and linear probes of each representation; empty without labels."""
    labels = next(iter(features.values()))[0].labels
    if len(np.unique(labels)) < 2 or (labels < 0).any():
        return {}
    c = config.evaluate
    width = max(train.features.shape[1] for train, _ in features.values())
    width = width if width <= 4 * min(train.features.shape[1] for train, _ in features.values()) else 0
    return {
        name: {
            **knn(train, test, k=c.neighbours, temperature=c.temperature),
            **linear_probe(
                train,
                test,
                label_counts=c.label_counts,
                draws=c.label_draws,
                inverse_regularization=c.inverse_regularization,
                width=width,
            ),
        }
        for name, (train, test) in features.items()
    }


def heading(name: str) -> str:
    """Column heading of a score."""
    if name == 'knn':
        return 'k-NN'
    count = name.removeprefix('linear').removeprefix('_')
    return f'linear, {count} label{"" if count == "1" else "s"}/class' if count else 'linear, all labels'


def markdown_table(table: dict[str, dict[str, float]]) -> str:
    """Scores as a Markdown table."""
    columns = list(next(iter(table.values())))
    lines = [
        '| representation | ' + ' | '.join(heading(c) for c in columns) + ' |',
        '| --- ' * (len(columns) + 1) + '|',
    ]
    for name, row in table.items():
        lines.append(f'| {REPRESENTATIONS[name]} | ' + ' | '.join(f'{row[c]:.3f}' for c in columns) + ' |')
    return '\n'.join(lines)


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Scores on the terminal."""
    columns = list(next(iter(table.values())))
    out = Table()
    out.add_column('representation')
    for column in columns:
        out.add_column(heading(column), justify='right')
    for name, row in table.items():
        out.add_row(REPRESENTATIONS[name], *(f'{row[c]:.3f}' for c in columns))
    Console().print(out)


def _series(lines: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    found = [(line['step'], line[name]) for line in lines if name in line]
    return [s for s, _ in found], [v for _, v in found]


def plot_training(lines: list[dict[str, Any]], file: Path) -> None:
    """Loss, RankMe, the alarm's scale-free numbers and probe accuracy over training."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(16, 3.6), layout='constrained')
    panels: tuple[tuple[str, dict[str, str]], ...] = (
        ('loss', {'loss': 'loss'}),
        ('RankMe (held out)', {'rankme': 'embeddings', 'rankme_features': 'features'}),
        (
            'pairs over strangers (held out)',
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
    plt.close(figure)


def plot_features(
    embeddings: np.ndarray, features: Features, class_names: tuple[str, ...], file: Path, *, most: int = 1000
) -> None:
    """Singular spectra of features and embeddings, and a t-SNE map of test features by label."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout='constrained')
    for name, z in (('features', features.features), ('embeddings', embeddings)):
        spectrum = np.asarray(diagnostics.singular_values(z))
        left.semilogy(np.arange(1, len(spectrum) + 1), np.maximum(spectrum / max(spectrum[0], 1e-30), 1e-8), label=name)
    left.set(title='singular spectrum (uncentred)', xlabel='index', ylabel='σ / σ₁')
    left.grid(alpha=0.3)
    left.legend()
    shown = features.features[:most]
    with threadpool_limits(1):  # its short parallel loops spin, and on a busy machine take a hundred times as long
        places = TSNE(random_state=0, init='pca', perplexity=min(30, max(2, len(shown) // 4))).fit_transform(shown)
    labels = features.labels[:most]
    colours = plt.get_cmap('tab10' if len(class_names) <= 10 else 'tab20')
    for label in np.unique(labels)[:20]:
        member = labels == label
        name = class_names[label] if 0 <= label < len(class_names) else None
        right.scatter(*places[member].T, s=9, color=colours(int(max(label, 0)) % colours.N), label=name)
    right.set(title=f't-SNE of {len(shown)} test features', xticks=[], yticks=[])
    if 0 < len(class_names) <= 20:
        right.legend(markerscale=2, fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=120)
    plt.close(figure)


def finish(
    workdir: Path, data: Data, encoder: Encoder, untrained: Encoder | None, lines: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Evaluates, writes `results.json`, the plots and `report.md`, and prints the table."""
    config = encoder.config
    features = representations(data, encoder, untrained)
    table = scores(config, features)
    test = features['trained'][1]
    embeddings = encoder.outputs(data.test.images())['embeddings']
    ranks = {
        'rankme of test embeddings': float(diagnostics.rankme(embeddings)),
        'rankme of test features': float(diagnostics.rankme(test.features)),
    }
    plot_training(lines, workdir / 'training.png')
    plot_features(embeddings, test, data.test.class_names, workdir / 'features.png')
    c = config.evaluate
    measured = measurements(lines)
    alarm = f'Last measurement, step {measured[-1]["step"]}. {verdict(measured[-1])}\n\n' if measured else ''
    (workdir / 'report.md').write_text(
        f'# {config.method.name} on {config.data.source}, step {encoder.step}\n\n'
        + (f'{markdown_table(table)}\n\n' if table else 'The data have no labels, so there are no probes.\n\n')
        + f'Probes of the frozen backbone on {len(data.labelled)} training and {len(data.test)} test images: features '
        f'standardised on train, logistic regression with C = {c.inverse_regularization:g}, low-label rows the mean of '
        f'{c.label_draws} draws; k-NN with k = {c.neighbours}, cosine, τ = {c.temperature:g}. The untrained encoder '
        f'has batch-norm statistics adapted on train. This is the checkpoint of step {encoder.step}; nothing was '
        f'chosen by test labels.\n\n'
        + alarm
        + '\n'.join(f'- {name}: {value:.1f}' for name, value in ranks.items())
        + f'\n- control: {config.control}; seed: {config.seed}\n\n'
        '![loss, RankMe and probe over training](training.png)\n\n![spectrum and projection](features.png)\n'
    )
    # Last and whole: tables take a run with this file for finished.
    results = workdir / 'results.json.new'
    results.write_text(json.dumps({'step': encoder.step, 'scores': table, 'ranks': ranks}, indent=2) + '\n')
    results.replace(workdir / 'results.json')
    if table:
        print_table(table)
    print(f'report: {workdir / "report.md"}', flush=True)
    return table
