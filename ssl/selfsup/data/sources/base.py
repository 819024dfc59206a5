"""What a source is, and how one is cut into parts and brought to one size; no jax here, so that workers stay light.

Labels are for probes and evaluation; a row without one has −1.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ...errors import UserError
from ..pictures import SKIP, CorruptImage, Treatment
from ..readers import Fitted, Reader, Selected, Treated, called
from ..sprites import Factor

MOST_CLASSES = 1_000_000


class Options(NamedTuple):
    """What a kind of source may read besides its own text: fields `data.dir` and `data.test_fraction`."""

    data_dir: str = ''
    test_fraction: float = 0.2


class Spec(NamedTuple):
    """Shape and type of one row: images uint8 `[height, width, channels]`, vectors float32 `[dim]`, ..."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def is_image(self) -> bool:
        return self.dtype == np.uint8 and len(self.shape) == 3

    @property
    def unit(self) -> str:
        """What the rows are called: 'images', 'vectors', or 'rows' of another rank."""
        return {1: 'vectors', 3: 'images'}.get(len(self.shape), 'rows')


class Source:
    """A sequence of rows with labels.

    Attributes:
      name: what it was opened from.
      reader: what reads the rows; it can be sent to another process.
      labels: `[n]` int32, −1 where unknown.
      class_names: one name a class, empty without labels.
      fingerprint: hash of the content; a run belongs to it.
      on_corrupt: what an image that cannot be decoded does: 'stop' or 'skip', see :func:`readable`.
      notes: what was left out or changed on opening, one line each, for the user to see before training.
      factors: name -> what is known of every row besides its label, for evaluation; of rendered sources.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        labels: np.ndarray,
        class_names: Sequence[str],
        fingerprint: str,
        on_corrupt: str = 'stop',
        notes: Sequence[str] = (),
        factors: Mapping[str, Factor] | None = None,
    ):
        self.name = name
        self.reader = reader
        self.labels = np.asarray(labels, np.int32)
        self.class_names = tuple(class_names)
        self.fingerprint = fingerprint
        self.on_corrupt = on_corrupt
        self.notes = tuple(notes)
        self.factors = dict(factors or {})
        self._spec: Spec | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'input': self.reader.array(int(index)), 'label': self.labels[index]}

    @property
    def spec(self) -> Spec:
        """Shape and type of the first row, which is read once."""
        if len(self) == 0:
            raise UserError(f'{self.name} holds no images')
        if self._spec is None:
            first = readable(0, len(self), self.reader.array, self.on_corrupt, {})[1]
            self._spec = Spec(first.shape, first.dtype)
        return self._spec

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`spec.shape`."""
        return self.spec.shape

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def replace(self, **changes: Any) -> 'Source':
        """The source with other attributes."""
        names = ('name', 'reader', 'labels', 'class_names', 'fingerprint', 'on_corrupt', 'notes', 'factors')
        return Source(**({name: getattr(self, name) for name in names} | changes))

    def select(self, indices: np.ndarray, part: str) -> 'Source':
        """The sub-sequence at `indices`."""
        indices = np.asarray(indices, np.int64)
        return self.replace(
            name=f'{self.name}[{part}]',
            reader=Selected(self.reader, indices),
            labels=self.labels[indices],
            factors={name: f._replace(values=f.values[indices]) for name, f in self.factors.items()},
            fingerprint=digest(self.fingerprint.encode(), indices.tobytes()),
        )

    def heeding(self, on_corrupt: str) -> 'Source':
        """The same rows with another `on_corrupt`."""
        return self.replace(on_corrupt=on_corrupt)

    def unlabelled(self) -> 'Source':
        """The same rows without labels."""
        return self.replace(labels=np.full(len(self), -1), class_names=())

    def images(self) -> np.ndarray:
        """All rows in one array; they must have one shape."""
        return self.arrays()[0]

    def arrays(self) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """:meth:`images`, their labels, and what was skipped: number of an image -> why."""
        if len(self) == 0:
            raise UserError(f'{self.name} holds no images')
        skipped: dict[int, str] = {}

        def read(index: int) -> tuple[int, np.ndarray]:
            return readable(index, len(self), self.reader.array, self.on_corrupt, skipped)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            rows = list(pool.map(read, range(len(self))))
        for index, (_, row) in enumerate(rows):
            if row.shape != rows[0][1].shape:
                raise UserError(
                    f'{self.name} mixes image shapes: {called(self.reader, 0)} is {list(rows[0][1].shape)} and '
                    f'{called(self.reader, index)} is {list(row.shape)}; set data.image_size (and data.channels) '
                    f'to bring them to one'
                )
        return np.stack([row for _, row in rows]), self.labels[[at for at, _ in rows]], skipped


def readable(index: int, count: int, read: Any, on_corrupt: str, skipped: dict[int, str]) -> tuple[int, Any]:
    """`(index, read(index))`, or, with `on_corrupt='skip'`, the next number whose image can be decoded.

    The replacement is a function of the number alone, so that every data path and every repetition of a
    run agrees on it. `skipped` gets the number of each corrupt image and what is wrong with it.
    """
    for offset in range(count):
        at = (index + offset) % count
        try:
            return at, read(at)
        except CorruptImage as error:
            if on_corrupt != 'skip':
                raise CorruptImage(f'{error}; {SKIP}') from error
            skipped[at] = str(error)
    raise UserError(f'none of the {count} images can be decoded, number {index} for one: {skipped[index]}')


def digest(*parts: bytes | str) -> str:
    """16 hexadecimal digits of the SHA-256 of the parts in turn; names of files may be no UTF-8."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode('utf-8', 'surrogateescape') if isinstance(part, str) else part)
    return total.hexdigest()[:16]


def check_labels(labels: np.ndarray, name: str) -> None:
    """Refuses integers that number no classes: below −1, or so large that counting them would fill the memory."""
    if len(labels) and not -1 <= labels.min() <= labels.max() < MOST_CLASSES:
        raise UserError(
            f'{name}: labels must lie in -1 ... {MOST_CLASSES - 1}, and reach from {labels.min()} to {labels.max()}'
        )


def split(source: Source, fraction: float, *, seed: int, parts: tuple[str, str]) -> tuple[Source, Source]:
    """Two disjoint parts, `fraction` of each class in the second (at least one row), the rest in the first.

    With a fraction of 0 the second part is empty.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    second: list[int] = []
    for label in np.unique(source.labels):
        members = np.flatnonzero(source.labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1) if fraction else 0
        second.extend(members[np.argsort(generator.random(len(members)), kind='stable')[: max(count, 0)]])
    if not second and fraction:
        raise UserError(f'{source.name} holds {len(source)} images, too few to set {fraction:.0%} of each class apart')
    chosen = np.zeros(len(source), bool)
    chosen[np.array(second, int)] = True
    return source.select(np.flatnonzero(~chosen), parts[0]), source.select(np.flatnonzero(chosen), parts[1])


def first_of_each_class(source: Source, count: int) -> Source:
    """The first `count` rows of each class, in order."""
    kept = np.sort(np.concatenate([np.flatnonzero(source.labels == c)[:count] for c in np.unique(source.labels)]))
    return source.select(kept, f'{count} a class')


def fitted(source: Source, *, image_size: int = 0, channels: int = 0, pad: int = 0) -> Source:
    """The source with every image brought to one size, channel count and border, where asked."""
    if not (image_size or channels or pad):
        return source
    return source.replace(
        reader=Fitted(source.reader, image_size, channels, pad, source.name),
        fingerprint=digest(source.fingerprint.encode(), f'size {image_size} channels {channels} pad {pad}'.encode()),
    )


def treated(source: Source, treatment: Treatment) -> Source:
    """The source with alpha blended and images turned upright, where asked."""
    if treatment == Treatment():
        return source
    text = f'background {treatment.background} orientation {treatment.orientation}'
    return source.replace(
        reader=Treated(source.reader, treatment), fingerprint=digest(source.fingerprint.encode(), text.encode())
    )
