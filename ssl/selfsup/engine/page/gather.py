"""What galleries show: the views of the first batch, and the nearest neighbours of some test images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ...augment.pipeline import Canvas, Crops
from ...data.batches import Rows
from ...evals import even_draw
from .. import build
from ..controls import pair_sources
from ..gradient import VIEWS
from ..step import count_views
from .facts import Facts, LeftOut
from .thumbnails import montage, picture_of, thumbnails

EXAMPLES = 6  # training images whose views are shown
MOST_VIEWS = 10  # of one image
VIEW_SIDE = 96  # pixels, at most
QUERIES = 8  # test images whose neighbours are shown
NEIGHBOURS = 5
SIDE = 64  # pixels of a neighbour, at most
BANK_VALUES = 2**22  # values of features that a search holds at a time in float64


class Views(NamedTuple):
    """Training images (None where readers cut the views out) and their views, a list for each image."""

    originals: list[Image.Image | None]
    views: list[list[Image.Image]]
    dropped: int
    control: str


def views(facts: Facts) -> Views:
    """The views of the first rows of the first step's batch: the same rows, keys and operations as in training."""
    drawn = facts.drawn
    config, train = drawn.encoder.config, drawn.data.train
    if drawn.encoder.step == 0:
        raise LeftOut('There are no views: this encoder was not trained by a run.')
    facts.of_images()
    if len(train) < config.data.batch_size:
        raise LeftOut(f'There are no views: {len(train)} training images fill no batch of {config.data.batch_size}.')
    count = count_views(config.augment.views)
    # With shuffled pairs, view v of row i is drawn from row i - v.
    first = count - 1 if config.control == 'shuffled_pairs' else 0
    size = min(first + EXAMPLES, config.data.batch_size)
    inputs, used = _rows(facts, size)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    sources = pair_sources(config.control, size, count)
    draw = jax.jit(lambda key, rows: build.build_views(config, train)(key, rows, jnp.arange(size), sources)[0])
    seen = jax.device_get(draw(jax.random.fold_in(key, VIEWS), inputs))
    mean, std = (np.asarray(config.augment[name], np.float32) for name in ('mean', 'std'))
    shown = [np.asarray(view, np.float32) * std + mean for view in seen[:MOST_VIEWS]]
    whole = thumbnails(train, used[first:], VIEW_SIDE) if config.data.crop == 'device' else {}
    return Views(
        [whole.get(int(number)) for number in used[first:]],
        [[_picture(view[row]) for view in shown] for row in range(first, size)],
        max(count - MOST_VIEWS, 0),
        config.control,
    )


def _picture(view: np.ndarray) -> Image.Image:
    """A view, or its parts side by side where it is cut or copied."""
    return picture_of(montage(view) if view.ndim == 4 else view, VIEW_SIDE)


def _rows(facts: Facts, size: int) -> tuple[object, np.ndarray]:
    """The first rows of the first step, as its feed reads them, and the numbers of their images."""
    config, train = facts.drawn.encoder.config, facts.drawn.data.train
    work = build.work_of(config, train, (0, size))
    batch = Rows(work)(0)
    if not work.crops:
        return jnp.asarray(batch['input']), batch['used']
    boxes = tuple(jnp.asarray(batch['boxes'][:, view]) for view in range(len(work.crops)))
    if work.canvas:
        return Canvas(jnp.asarray(batch['canvas']), boxes), batch['used']
    return Crops(tuple(jnp.asarray(batch[f'crop{view}']) for view in range(len(work.crops))), boxes), batch['used']


class Neighbour(NamedTuple):
    """An image near another: its picture, class and cosine."""

    picture: Image.Image | None
    label: int
    cosine: float


class Neighbours(NamedTuple):
    """Test images with their nearest neighbours in each representation; those that are left out, a sentence each."""

    queries: list[tuple[Image.Image | None, int, str]]
    found: dict[str, list[list[Neighbour]]]
    among: str
    notes: list[str]


def nearest(queries: np.ndarray, bank: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `bank` with the largest cosine to each query, best first, and the cosines, `[queries, count]` each.

    The bank is read in pieces of `BANK_VALUES` values; of equal cosines the earlier row comes first.
    """

    def unit(rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    q = unit(queries)
    index, cosines = np.zeros((len(q), 0), np.int64), np.zeros((len(q), 0))
    size = max(BANK_VALUES // bank.shape[1], 1)
    for start in range(0, len(bank), size):
        piece = q @ unit(bank[start : start + size]).T
        numbers = np.broadcast_to(np.arange(start, start + piece.shape[1]), piece.shape)
        index, cosines = np.concatenate([index, numbers], axis=1), np.concatenate([cosines, piece], axis=1)
        best = np.argsort(-cosines, axis=1, kind='stable')[:, :count]
        index, cosines = (np.take_along_axis(a, best, axis=1) for a in (index, cosines))
    return index, cosines


def neighbours(facts: Facts) -> Neighbours:
    """Neighbours of some test images: labelled training images, or, without labels, other test images."""
    facts.of_images()
    data, encoded = facts.drawn.data, facts.drawn.encoded
    notes = []
    if encoded.features:
        labels = encoded.features['trained'][1].labels
        chosen = even_draw(labels, QUERIES, seed=0)
        places = np.flatnonzero(encoded.test.labels >= 0)[chosen]
        banks = {name: (test.features[chosen], train.features) for name, (train, test) in encoded.features.items()}
        source, numbers, bank_labels = data.labelled, encoded.rows[0], encoded.features['trained'][0].labels
        notes = [f'There is no column of {facts.names[name]}.' for name in facts.names if name not in banks]
    else:
        chosen = places = even_draw(encoded.test.labels, QUERIES, seed=0)
        banks = {'trained': (encoded.test.features[chosen], encoded.test.features)}
        source, numbers, bank_labels = data.test, encoded.rows[1], encoded.test.labels
        notes = ['Without labels only the trained encoder has encoded the images, and only those of the test set.']
    found, alone = {}, not encoded.features
    for name, (queries, bank) in banks.items():
        if not (np.isfinite(queries).all() and np.isfinite(bank).all()):
            notes.append(f'{facts.names[name]}: the features are not finite.')
            continue
        index, cosines = nearest(queries, bank, NEIGHBOURS + alone)
        found[name] = [
            [(int(i), float(c)) for i, c in zip(*row, strict=True) if not (alone and i == own)][:NEIGHBOURS]
            for own, *row in zip(chosen, index, cosines, strict=True)
        ]
    wanted = {numbers[i] for rows in found.values() for row in rows for i, _ in row}
    pictures = thumbnails(source, list(wanted), SIDE)
    own = thumbnails(data.test, encoded.rows[1][places], SIDE)
    return Neighbours(
        [(own.get(int(encoded.rows[1][p])), int(encoded.test.labels[p]), facts.file_name(int(p))) for p in places],
        {
            name: [[Neighbour(pictures.get(int(numbers[i])), int(bank_labels[i]), c) for i, c in row] for row in rows]
            for name, rows in found.items()
        },
        'test' if alone else 'training',
        notes,
    )
