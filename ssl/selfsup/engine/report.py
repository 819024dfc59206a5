"""The end of a run: the table of probes, `results.json`, the plots, `report.md`, and the page `report.html`.

Numbers are written first and pictures after them, the page last. A picture or a section that cannot be drawn is left
out, with its reason.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from .. import diagnostics
from ..data.sources import Source
from ..errors import UserError
from ..evals import Features, knn, linear_probe
from ..files import placed
from . import images, page
from .alarm import measurements, verdict
from .build import Data
from .drawn import Drawn, Encoded
from .encoder import Encoder
from .pictures import plot_atoms, plot_patches, plot_reconstructions
from .plots import plot_features, plot_training
from .speed import sentence
from .unit_pictures import images_of, plot_units

REPRESENTATIONS = {'trained': 'trained encoder', 'untrained': 'untrained encoder', 'pixels': 'raw pixels'}
# Raw pixels have a row where train and test together have no more values than this, 1 GiB as float32.
MOST_PIXELS = 2**28
PIXELS_SIDE = 32  # larger images are averaged over blocks to this, so that their row costs no more than CIFAR-10's

TASK = 'accuracy of the pretext task on the last logged training batches'
TASK_LINES = 5  # logged batches over which the accuracy of a pretext task is averaged
PICTURED = 8  # test images in the pictures of reconstructions and of patches


def _training(drawn: Drawn, file: Path) -> str:
    plot_training(drawn.lines, file)
    return ''


def _of_images(plot: Callable[[Encoder, np.ndarray, Path], bool]) -> Callable[[Drawn, Path], str | None]:
    """A picture of the first test images, which not every encoder has."""

    def draw(drawn: Drawn, file: Path) -> str | None:
        test = drawn.data.test
        shown = test.select(np.arange(min(PICTURED, len(test))), 'pictured').arrays()[0]
        return '' if plot(drawn.encoder, shown, file) else None

    return draw


def _units(drawn: Drawn, file: Path) -> str | None:
    source = images_of(drawn.encoder, drawn.data.test)
    if source is None:
        return None
    rows, codes = drawn.encoded.rows[1], drawn.encoded.test.features
    inputs = drawn.data.test.select(rows, 'pictured').arrays()[0].reshape(len(rows), -1)
    return '' if plot_units(codes, inputs, source.select(rows, 'shown'), file) else None


# File -> its caption, and the function (drawn, file) that draws it: '', a sentence on a part that is left out, or None
# where the picture is not one of this method.
PICTURES: dict[str, tuple[str, Callable[[Drawn, Path], str | None]]] = {
    'training.png': ('loss, RankMe and probe over training', _training),
    'features.png': (
        'spectrum and projection',
        lambda d, file: plot_features(d.spectra, d.places, d.encoded.test.labels, d.data.test.class_names, file),
    ),
    'reconstructions.png': ('hidden patches, their reconstruction, the images', _of_images(plot_reconstructions)),
    'atoms.png': ('atoms of the units that these images turn on most', _of_images(plot_atoms)),
    'units.png': (
        'a unit a row: the test images that turn it on most; below, those furthest along random directions',
        _units,
    ),
    'patches.png': ('images, and three principal components of their patch features', _of_images(plot_patches)),
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
    """Inputs `[n, …]` as flat float32 rows, uint8 in [0, 1]; larger images are averaged to `PIXELS_SIDE` a side."""
    scale = np.float32(1 / 255 if rows.dtype == np.uint8 else 1)
    if rows.ndim == 4:
        for axis, side in zip((1, 2), pixels_shape(rows.shape[1:]), strict=False):
            if side < rows.shape[axis]:
                rows = _averaged(rows, axis, side)
    return rows.reshape(len(rows), -1).astype(np.float32) * scale


def pixels_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one input before :func:`pixels` flattens it."""
    return tuple(min(side, PIXELS_SIDE) for side in shape[:2]) + shape[2:] if len(shape) == 3 else shape


def _averaged(images: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Means over `side` blocks of an axis, whose lengths differ by at most one."""
    starts = np.arange(side) * images.shape[axis] // side
    lengths = np.diff([*starts, images.shape[axis]]).astype(np.float32)
    sums = np.add.reduceat(images, starts, axis=axis, dtype=np.float32)
    return sums / lengths.reshape(-1, *[1] * (images.ndim - axis - 1))


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
        shape = pixels_shape(data.test.image_shape)
        raw = 'Raw pixels are' if data.test.spec.unit == 'images' else 'The raw input is'
        values = int(np.prod(shape)) * (len(rows[0]) + len(data.test))
        if values <= MOST_PIXELS:
            encoders['pixels'] = pixels
            if shape != tuple(data.test.image_shape):
                notes.append(f'Raw pixels are means over blocks of the images, {shape[0]} x {shape[1]} of them.')
        else:
            notes.append(f'{raw} left out: {values:,} values are more than {MOST_PIXELS:,}.')
    size = encoder.config.evaluate.batch_size

    def test_outputs(batch: np.ndarray) -> dict[str, np.ndarray]:
        out = encoder.outputs(batch)
        others = {name: encode(batch) for name, encode in encoders.items() if name != 'trained'}
        return {'trained': out['features'], 'embeddings': out['embeddings'], **others}

    found, kept = images.encoded(test_outputs, data.test, batch_size=size)
    embeddings, labels = found.pop('embeddings'), data.test.labels[kept]
    notes += _left_out(data.test, len(data.test), kept)
    test = Features(found['trained'], labels)
    features, kept_train = {}, np.zeros(0, np.int64)
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
    return Encoded(features, test, embeddings, notes, (kept_train, kept))


def _left_out(source: Source, count: int, kept: np.ndarray) -> list[str]:
    missing = count - len(kept)
    return [f'{missing} of {count} images of {source.name} cannot be decoded and are left out.'] if missing else []


def representation_names(unit: str) -> dict[str, str]:
    """The names of the representations in tables; vectors have no pixels."""
    return REPRESENTATIONS if unit == 'images' else {**REPRESENTATIONS, 'pixels': 'raw input'}


def scores(
    config: ConfigDict, features: dict[str, tuple[Features, Features]], names: Mapping[str, str] = REPRESENTATIONS
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
            notes.append(f'No probes of the {names[name]}: {error}.')
    return table, notes


def heading(name: str) -> str:
    """Column heading of a score."""
    if name == 'knn':
        return 'k-NN'
    count = name.removeprefix('linear').removeprefix('_')
    return f'linear, {count} label{"" if count == "1" else "s"}/class' if count else 'linear, all labels'


def markdown_table(table: dict[str, dict[str, float]], names: Mapping[str, str]) -> str:
    """Scores as a Markdown table."""
    columns = list(next(iter(table.values())))
    lines = [
        '| representation | ' + ' | '.join(heading(c) for c in columns) + ' |',
        '| --- ' * (len(columns) + 1) + '|',
    ]
    for name, row in table.items():
        lines.append(f'| {names[name]} | ' + ' | '.join(f'{row[c]:.3f}' for c in columns) + ' |')
    return '\n'.join(lines)


def print_table(table: dict[str, dict[str, float]], names: Mapping[str, str]) -> None:
    """Scores on the terminal."""
    columns = list(next(iter(table.values())))
    out = Table()
    out.add_column('representation')
    for column in columns:
        out.add_column(heading(column), justify='right')
    for name, row in table.items():
        out.add_row(names[name], *(f'{row[c]:.3f}' for c in columns))
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


def _protocol(encoder: Encoder, encoded: Encoded, *, unit: str) -> str:
    """How the probes were made, in sentences."""
    c = encoder.config.evaluate
    train, test = next(iter(encoded.features.values()), (encoded.test, encoded.test))
    return (
        f'Probes of the frozen backbone on {len(train.labels)} training and {len(test.labels)} test {unit}: features '
        f'standardised on train, logistic regression with C = {c.inverse_regularization:g}, low-label rows the mean of '
        f'{c.label_draws} draws; k-NN with k = {c.neighbours}, cosine, τ = {c.temperature:g}. The untrained encoder '
        f'has batch-norm statistics adapted on train.'
    )


def _verdict(lines: list[dict[str, Any]]) -> str:
    """What the last measurement says of a collapse; '' where there is none."""
    measured = measurements(lines)
    return f'Last measurement, step {measured[-1]["step"]}. {verdict(measured[-1])}' if measured else ''


def _task(lines: list[dict[str, Any]]) -> str:
    """How well a pretext task is solved at the end of training; '' for a method without one."""
    found = [line['pretext_accuracy'] for line in lines if 'pretext_accuracy' in line][-TASK_LINES:]
    return f'{sum(found) / len(found):.3f}' if found else ''


def _text(
    encoder: Encoder,
    encoded: Encoded,
    numbers: dict[str, Any],
    lines: list[dict[str, Any]],
    protocol: str,
    names: Mapping[str, str],
) -> str:
    """`report.md` up to its pictures."""
    config, table, alarm = encoder.config, numbers['scores'], _verdict(lines)
    task = _task(lines)
    ranks = {name: 'not finite' if rank is None else f'{rank:.1f}' for name, rank in numbers['ranks'].items()}
    return (
        f'# {config.method.name} on {config.data.source}, step {encoder.step}\n\n'
        + (f'{markdown_table(table, names)}\n\n' if table else '')
        + ''.join(f'{note}\n\n' for note in encoded.notes)
        + (f'{protocol} ' if protocol else '')
        + f'This is the checkpoint of step {encoder.step}; nothing was chosen by test labels.\n\n'
        + (f'{alarm}\n\n' if alarm else '')
        + '\n'.join(f'- {name}: {rank}' for name, rank in ranks.items())
        + (f'\n- {TASK}: {task}' if task else '')
        + f'\n- control: {config.control}; seed: {config.seed}\n'
    )


def _pictures(workdir: Path, drawn: Drawn) -> list[page.Picture | str]:
    """Draws the pictures; a sentence in the place of each that is left out."""
    found: list[page.Picture | str] = []
    for file, (caption, draw) in PICTURES.items():
        (workdir / file).unlink(missing_ok=True)  # of a report of before
        try:
            note = draw(drawn, workdir / file)
            if note is not None:
                found.append(page.Picture(file, caption, note))
        except Exception as error:  # what plotting raises of unusual numbers is open-ended, and the numbers are written
            reason = f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no message"}'
            found.append(f'{file} is left out: {reason}')
            print(found[-1], flush=True)
    return found


def _markdown(picture: page.Picture | str) -> str:
    if isinstance(picture, str):
        return picture
    return f'![{picture.caption}]({picture.file})' + (f'\n\n{picture.note}' if picture.note else '')


def _replace(file: Path, text: str) -> None:
    """Writes a file, into place when it is whole."""
    with placed(file) as temporary:
        # Names of files and classes may be no UTF-8.
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def finish(
    workdir: Path, data: Data, encoder: Encoder, untrained: Encoder | None, lines: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Evaluates, writes `results.json` and prints the table, draws the plots, writes `report.md` and `report.html`."""
    encoded = representations(data, encoder, untrained)
    names = representation_names(data.test.spec.unit)
    table, notes = scores(encoder.config, encoded.features, names)
    encoded.notes.extend(notes)
    numbers = _numbers(encoder.step, table, encoded)
    protocol = _protocol(encoder, encoded, unit=data.test.spec.unit) if table else ''
    told = ''
    if 'trained' in table:
        count = len(encoded.features['trained'][1].labels)
        told = page.comparison(table, names, count, data.test.spec.unit)
    text = _text(encoder, encoded, numbers, lines, f'{told}\n\n{protocol}' if told else protocol, names)
    speed = sentence(workdir)
    text += f'- {speed}\n' if speed else ''
    # Tables take a run with this file for finished, so it is written whole.
    _replace(workdir / 'results.json', json.dumps(numbers, indent=2, allow_nan=False) + '\n')
    if table:
        print_table(table, names)
    for note in (told, *encoded.notes, speed):
        if note:
            print(note)
    drawn = Drawn(data, encoder, encoded, lines)
    pictures = _pictures(workdir, drawn)
    _replace(workdir / 'report.md', text + '\n' + '\n\n'.join(map(_markdown, pictures)) + '\n')
    facts = page.Facts(
        workdir=workdir,
        drawn=drawn,
        table=table,
        names=names,
        headings={column: heading(column) for row in table.values() for column in row},
        ranks=numbers['ranks'],
        others={TASK: _task(lines)} if _task(lines) else {},
        verdict=_verdict(lines),
        speed=speed,
        protocol=protocol,
        pictures=pictures,
    )
    _replace(workdir / 'report.html', page.page(facts))
    print(f'report: {workdir / "report.md"}, and as a page: {workdir / "report.html"}', flush=True)
    return table
