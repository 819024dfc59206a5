"""Images of a source for evaluation, a batch at a time: memory depends on the batch, not on the number of images.

Where the source has `on_corrupt='skip'`, an image that cannot be decoded is left out (training takes the next one in
its place, evaluation must not count one image twice); the numbers of the others come with them.
"""

import collections
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ..data import sources
from ..data.pictures import SKIP, CorruptImage
from ..data.readers import Files, Fitted, Reader, Selected, Treated, called
from ..errors import UserError
from ..evals import Features, extract

LARGEST_IMAGE = 8192  # pixels, as of data.image_size
HELD_BYTES = 2**30  # images that are taken in every epoch of an evaluation are kept in memory up to this
HELD_BATCH = 512
AHEAD = 64  # images decoded ahead of the one that is needed


def decoded(source: sources.Source, rows: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers `rows` with their images, in order, decoded ahead by threads; corrupt ones are left out on 'skip'.

    Raises:
      UserError: naming a corrupt image, two images of different shapes, or one of them if none can be decoded.
    """
    first: tuple[int, tuple[int, ...]] | None = None
    corrupt: CorruptImage | None = None
    pending: collections.deque = collections.deque()
    left = iter(rows)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            while True:
                while len(pending) < AHEAD and (number := next(left, None)) is not None:
                    pending.append((int(number), pool.submit(source.reader.array, int(number))))
                if not pending:
                    break
                number, image = pending.popleft()
                try:
                    image = image.result()
                except CorruptImage as error:
                    if source.on_corrupt != 'skip':
                        raise CorruptImage(f'{error}; {SKIP}') from error
                    corrupt = error
                    continue
                first = first or (number, image.shape)
                if image.shape != first[1]:
                    raise UserError(
                        f'{source.name} mixes image shapes: {called(source.reader, first[0])} is {list(first[1])} and '
                        f'{called(source.reader, number)} is {list(image.shape)}; set data.image_size (and '
                        f'data.channels), or --image-size (and --channels) of embed and evaluate, to bring them to one'
                    )
                yield number, image
        finally:
            for _, future in pending:
                future.cancel()
    if first is None and corrupt is not None:
        raise UserError(f'none of the {len(rows)} images of {source.name} can be decoded: {corrupt}')


def batches(
    source: sources.Source, size: int, rows: Sequence[int] | np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`(numbers [b], images [b, …])` of a source, or of its numbers `rows`; all but the last have `size` images."""
    numbers: list[int] = []
    images: list[np.ndarray] = []
    for number, image in decoded(source, range(len(source)) if rows is None else rows):
        numbers.append(number)
        images.append(image)
        if len(numbers) == size:
            yield np.asarray(numbers), np.stack(images)
            numbers, images = [], []
    if numbers:
        yield np.asarray(numbers), np.stack(images)


def encoded(
    encode: Callable[[np.ndarray], Any],
    source: sources.Source,
    *,
    batch_size: int,
    rows: np.ndarray | None = None,
) -> tuple[Any, np.ndarray]:
    """`encode` over the images of a source, as :func:`selfsup.evals.extract` does, and the numbers of those images."""
    kept: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        for numbers, found in batches(source, batch_size, rows):
            kept.append(numbers)
            yield found

    if not len(source):
        raise UserError(f'{source.name} holds no images')
    out = extract(encode, images(), most=len(source) if rows is None else len(rows))
    return out, np.concatenate(kept)


class Images:
    """Images that are decoded when they are taken, in the place of an array `[n, …]`.

    Args:
      source: what they are read from.
      rows: numbers of the images; those that cannot be decoded must be among them only on `on_corrupt='stop'`.
    """

    def __init__(self, source: sources.Source, rows: np.ndarray):
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._source.image_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The images at a slice or an array of places."""
        return np.stack([image for _, image in decoded(self._source, self._rows[index])])


def features(encoder: Any, source: sources.Source) -> Features:
    """An encoder's features of a source with their labels, `evaluate.batch_size` images of its config at a time."""
    rows, kept = encoded(encoder, source, batch_size=encoder.config.evaluate.batch_size)
    return Features(rows, source.labels[kept])


def labelled_images(source: sources.Source) -> tuple[Any, np.ndarray]:
    """Images that have a label and can be decoded, and their labels `[n]`.

    They are an array where that is at most `HELD_BYTES`, and decoded each time they are taken otherwise; then, on
    'skip', each is decoded once before to know which can be.
    """
    rows = np.flatnonzero(source.labels >= 0)
    if len(rows) * math.prod(source.image_shape) <= HELD_BYTES:
        found = list(batches(source, HELD_BATCH, rows))
        rows = np.concatenate([numbers for numbers, _ in found])
        return np.concatenate([images for _, images in found]), source.labels[rows]
    if source.on_corrupt == 'skip':
        rows = np.array([number for number, _ in decoded(source, rows)], np.int64)
    return Images(source, rows), source.labels[rows]


def set_fields(config: ConfigDict, *, image_size: str = '', channels: str = '') -> None:
    """Puts the options --image-size and --channels, where they are given, into the config that images are read by.

    Raises:
      UserError: where they are no sizes of images.
    """
    with config.unlocked():
        if image_size:
            good = image_size.isascii() and image_size.isdigit() and 1 <= int(image_size[:9]) <= LARGEST_IMAGE
            if not good:
                raise UserError(f'--image-size must be a whole number from 1 to {LARGEST_IMAGE}, not {image_size!r}')
            config.data.image_size = int(image_size)
        if channels:
            if channels not in ('1', '3'):
                raise UserError(f'--channels must be 1 or 3, not {channels!r}')
            config.data.channels = int(channels)


def open_parts(config: ConfigDict, spec: str) -> dict[str, sources.Source]:
    """Another source than the run's, to encode and not to train on: its parts by name, however few images they hold.

    Parts are 'train' and 'test' where the source has both; a source without a test set of its own is one part, named
    '', in its own order.

    Args:
      config: of the encoder; its `data.image_size`, `channels`, `pad` and `on_corrupt` are applied.
      spec: what to open.
    """
    train, test = _opened(config, spec, test_fraction=0.0)  # so that one image is enough
    whole = None if spec == 'digits' else _uncut(train, test)
    whole = train if whole is None and not len(test) else whole
    parts = {'': whole} if whole is not None else {'train': train, 'test': test}
    return {name: _fitted(config, part) for name, part in parts.items()}


def open_train_and_test(config: ConfigDict, spec: str) -> dict[str, sources.Source]:
    """The sources `train` and `test` of other data than the run's; see :func:`open_parts`."""
    return {name: _fitted(config, part) for name, part in zip(('train', 'test'), _opened(config, spec), strict=True)}


def _opened(
    config: ConfigDict, spec: str, *, test_fraction: float | None = None
) -> tuple[sources.Source, sources.Source]:
    if not spec:
        raise UserError('no data are named: give --data, the encoder has none of its own')
    fraction = config.data.test_fraction if test_fraction is None else test_fraction
    return sources.open_source(spec, data_dir=config.data.dir, test_fraction=fraction)


def _fitted(config: ConfigDict, source: sources.Source) -> sources.Source:
    c = config.data
    source = sources.treated(source, sources.Treatment(c.background, c.orientation))
    return sources.fitted(source, image_size=c.image_size, channels=c.channels, pad=c.pad).heeding(c.on_corrupt)


def _uncut(train: sources.Source, test: sources.Source) -> sources.Source | None:
    """The one set that two parts were cut from, in its own order; None where the source has a test set of its own."""
    ours, theirs = train.reader, test.reader
    if not (isinstance(ours, Selected) and isinstance(theirs, Selected) and ours.inner is theirs.inner):
        return None
    rows = np.concatenate([ours.indices, theirs.indices])
    order = np.argsort(rows, kind='stable')
    labels = np.concatenate([train.labels, test.labels])[order]
    name = train.name.removesuffix('[train]')
    return sources.Source(name, Selected(ours.inner, rows[order]), labels, train.class_names, train.fingerprint)


def file_names(reader: Reader) -> list[str] | None:
    """The file of each image that a reader gives; None where images do not lie in files of their own."""
    if (files := getattr(reader, 'files', None)) is not None:
        return [str(file) for file in files]
    if isinstance(reader, Files):
        return [str(path) for path in reader.paths]
    if isinstance(reader, (Fitted, Treated)):
        return file_names(reader.inner)
    if isinstance(reader, Selected):
        files = file_names(reader.inner)
        return None if files is None else [files[number] for number in reader.indices]
    return None
