"""The end of a run: the table of probes, `results.json`, the plots, and `report.md`.

Numbers are written first and pictures after them. A picture that cannot be drawn is left out, with its reason.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from .. import diagnostics
from ..data.sources import Source
from ..errors import UserError
from ..evals import Features, knn, linear_probe
from . import images
from .alarm import measurements, verdict
from .build import Data
from .encoder import Encoder
from .pictures import plot_reconstructions
from .plots import plot_features, plot_training
from .speed import sentence

REPRESENTATIONS = {'trained': 'trained encoder', 'untrained': 'untrained encoder', 'pixels': 'raw pixels'}
# Raw pixels have a row where train and test together have no more values than this, 1 GiB as float32.
MOST_PIXELS = 2**28

RECONSTRUCTED = 8  # test images in the picture of reconstructions


class Encoded(NamedTuple):
    """What a report is computed from.

    Attributes:
      features: representation -> features of the labelled images of train and test; empty without probes.
      test: features of all test images by the trained encoder.
      embeddings: likewise.
      notes: what was left out, a sentence each.
    """

    features: dict[str, tuple[Features, Features]]
    test: Features
    embeddings: np.ndarray
    notes: list[str]


class Drawn(NamedTuple):
    """What the pictures of a report are drawn from: the run's data and encoder, what it encoded, its metrics."""

    data: Data
    encoder: Encoder
    encoded: Encoded
    lines: list[dict[str, Any]]


def _training(drawn: Drawn, file: Path) -> str:
    plot_training(drawn.lines, file)
    return ''


def _reconstructions(drawn: Drawn, file: Path) -> str | None:
    test = drawn.data.test
    shown = test.select(np.arange(min(RECONSTRUCTED, len(test))), 'pictured').arrays()[0]
    return '' if plot_reconstructions(drawn.encoder, shown, file) else None


# File -> its caption, and the function (drawn, file) that draws it: '', a sentence on a part that is left out, or None
# where the picture is not one of this method.
PICTURES: dict[str, tuple[str, Callable[[Drawn, Path], str | None]]] = {
    'training.png': ('loss, RankMe and probe over training', _training),
    'features.png': (
        'spectrum and projection',
        lambda d, file: plot_features(d.encoded.embeddings, d.encoded.test, d.data.test.class_names, file),
    ),
    'reconstructions.png': ('hidden patches, their reconstruction, the images', _reconstructions),
}


def label_note(data: Data) -> str:
    """One sentence on the labels that probes have: why there are none, or on how many they run; '' where all have one.

    For the report, and to be printed before the first step.
    """
    unit = data.test.spec.unit
    for name, labels, least in (('training', data.labelled.labels, 2), ('test', data.test.labels, 1)):
        found = len(np.unique(labels[labels >= 0]))
        if not found:
            return f'No probes: the {name} {unit} have no labels; data.probe_source can name a set that has them.'
        if found < least:
            return f'No probes: the {name} {unit} are of one class, and probes need two.'
    train, test = (int((part.labels >= 0).sum()) for part in (data.labelled, data.test))
    if train == len(data.labelled) and test == len(data.test):
        return ''
    return (
        f'Probes use the {unit} that have a label: {train} of {len(data.labelled)} training {unit} and {test} of '
        f'{len(data.test)} test {unit}.'
    )


def pixels(rows: np.ndarray) -> np.ndarray:
    """Inputs `[n, …]` as flat float32 rows; uint8 in [0, 1]."""
    flat = rows.reshape(len(rows), -1).astype(np.float32)
    return flat / 255 if rows.dtype == np.uint8 else flat


def representations(data: Data, encoder: Encoder, untrained: Encoder | None) -> Encoded:
    """Features of the encoder, of the untrained encoder and of the raw pixels.

    Images are decoded once and a batch at a time: memory is that of a batch and of the features. Without probes
    only the test images are encoded, and only by the trained encoder.
    """
    note = label_note(data)
    notes = [note] if note else []
    probed = not note.startswith('No probes')
    encoders: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    rows = [np.flatnonzero(part.labels >= 0) for part in (data.labelled, data.test)]
    if probed:
        encoders = {'trained': encoder, **({'untrained': untrained} if untrained is not None else {})}
        values = int(np.prod(data.test.image_shape)) * (len(rows[0]) + len(data.test))
        if values <= MOST_PIXELS:
            encoders['pixels'] = pixels
        else:
            notes.append(f'Raw pixels are left out: {values:,} values are more than {MOST_PIXELS:,}.')
    size = encoder.config.evaluate.batch_size

    def test_outputs(batch: np.ndarray) -> dict[str, np.ndarray]:
        out = encoder.outputs(batch)
        others = {name: encode(batch) for name, encode in encoders.items() if name != 'trained'}
        return {'trained': out['features'], 'embeddings': out['embeddings'], **others}

    found, kept = images.encoded(test_outputs, data.test, batch_size=size)
    embeddings, labels = found.pop('embeddings'), data.test.labels[kept]
    notes += _left_out(data.test, len(data.test), kept)
    test = Features(found['trained'], labels)
    features = {}
    if probed:
        ours, kept_train = images.encoded(
            lambda batch: {name: encode(batch) for name, encode in encoders.items()},
            data.labelled,
            batch_size=size,
            rows=rows[0],
        )
        notes += _left_out(data.labelled, len(rows[0]), kept_train)
        known = slice(None) if (labels >= 0).all() else labels >= 0
        features = {
            name: (Features(ours[name], data.labelled.labels[kept_train]), Features(found[name][known], labels[known]))
            for name in encoders
        }
    return Encoded(features, test, embeddings, notes)


def _left_out(source: Source, count: int, kept: np.ndarray) -> list[str]:
    missing = count - len(kept)
    return [f'{missing} of {count} images of {source.name} cannot be decoded and are left out.'] if missing else []


def scores(
    config: ConfigDict, features: dict[str, tuple[Features, Features]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """k-NN and linear probes of each representation, and a sentence on each that cannot be probed."""
    if not features:
        return {}, []
    c = config.evaluate
    width = max(train.features.shape[1] for train, _ in features.values())
    width = width if width <= 4 * min(train.features.shape[1] for train, _ in features.values()) else 0
    table, notes = {}, []
    for name, (train, test) in features.items():
        try:
            table[name] = {
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
        except UserError as error:  # such as features that are not finite
            notes.append(f'No probes of the {REPRESENTATIONS[name]}: {error}.')
    return table, notes


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


def _numbers(step: int, table: dict, encoded: Encoded) -> dict[str, Any]:
    """The content of `results.json`; a rank that is not finite is null."""
    found = {
        'rankme of test embeddings': float(diagnostics.rankme(encoded.embeddings)),
        'rankme of test features': float(diagnostics.rankme(encoded.test.features)),
    }
    finite = np.isfinite(encoded.embeddings).all() and np.isfinite(encoded.test.features).all()
    ranks = {name: value if finite and np.isfinite(value) else None for name, value in found.items()}
    return {'step': step, 'scores': table, 'ranks': ranks}


def _text(
    encoder: Encoder, encoded: Encoded, numbers: dict[str, Any], lines: list[dict[str, Any]], *, unit: str
) -> str:
    """`report.md` up to its pictures."""
    config = encoder.config
    c, table = config.evaluate, numbers['scores']
    train, test = next(iter(encoded.features.values()), (encoded.test, encoded.test))
    measured = measurements(lines)
    alarm = f'Last measurement, step {measured[-1]["step"]}. {verdict(measured[-1])}\n\n' if measured else ''
    ranks = {name: 'not finite' if rank is None else f'{rank:.1f}' for name, rank in numbers['ranks'].items()}
    probes = (
        f'Probes of the frozen backbone on {len(train.labels)} training and {len(test.labels)} test {unit}: features '
        f'standardised on train, logistic regression with C = {c.inverse_regularization:g}, low-label rows the mean of '
        f'{c.label_draws} draws; k-NN with k = {c.neighbours}, cosine, τ = {c.temperature:g}. The untrained encoder '
        f'has batch-norm statistics adapted on train. '
    )
    return (
        f'# {config.method.name} on {config.data.source}, step {encoder.step}\n\n'
        + (f'{markdown_table(table)}\n\n' if table else '')
        + ''.join(f'{note}\n\n' for note in encoded.notes)
        + (probes if table else '')
        + f'This is the checkpoint of step {encoder.step}; nothing was chosen by test labels.\n\n'
        + alarm
        + '\n'.join(f'- {name}: {rank}' for name, rank in ranks.items())
        + f'\n- control: {config.control}; seed: {config.seed}\n'
    )


def _pictures(workdir: Path, drawn: Drawn) -> list[str]:
    """Draws the pictures; for each its line of Markdown, or a sentence on why it is left out."""
    found = []
    for file, (caption, draw) in PICTURES.items():
        (workdir / file).unlink(missing_ok=True)  # of a report of before
        try:
            note = draw(drawn, workdir / file)
            if note is not None:
                found.append(f'![{caption}]({file})' + (f'\n\n{note}' if note else ''))
        except Exception as error:  # what plotting raises of unusual numbers is open-ended, and the numbers are written
            reason = f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no message"}'
            found.append(f'{file} is left out: {reason}')
            print(found[-1], flush=True)
    return found


def _replace(file: Path, text: str) -> None:
    """Writes a file, into place when it is whole."""
    temporary = file.with_name(f'{file.name}.new')
    # Names of files and classes may be no UTF-8.
    temporary.write_text(text, encoding='utf-8', errors='backslashreplace')
    temporary.replace(file)


def finish(
    workdir: Path, data: Data, encoder: Encoder, untrained: Encoder | None, lines: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Evaluates, writes `results.json` and prints the table, then draws the plots and writes `report.md`."""
    encoded = representations(data, encoder, untrained)
    table, notes = scores(encoder.config, encoded.features)
    encoded.notes.extend(notes)
    numbers = _numbers(encoder.step, table, encoded)
    text = _text(encoder, encoded, numbers, lines, unit=data.test.spec.unit)
    speed = sentence(workdir)
    text += f'- {speed}\n' if speed else ''
    # Tables take a run with this file for finished, so it is written whole.
    _replace(workdir / 'results.json', json.dumps(numbers, indent=2, allow_nan=False) + '\n')
    if table:
        print_table(table)
    for note in [*encoded.notes, *([speed] if speed else [])]:
        print(note)
    pictures = _pictures(workdir, Drawn(data, encoder, encoded, lines))
    _replace(workdir / 'report.md', text + '\n' + '\n\n'.join(pictures) + '\n')
    print(f'report: {workdir / "report.md"}', flush=True)
    return table
