"""Random-access sources of `{image, label}` with a fingerprint; no jax here, so that workers stay light.

Labels are for probes and evaluation; a source without labels gives −1.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, nearest
from ..files import expanded, read_arrays
from . import shards
from .readers import Arrays, CorruptImage, Files, Fitted, Reader, Selected, Tfds

IMAGE_SUFFIXES = {'.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}
MOST_CLASSES = 1_000_000
KINDS = ('digits', 'tfds:<name>', 'npz:<file>', 'folder:<path>', 'shards:<folder>')


class Source:
    """A sequence of images with labels.

    Attributes:
      name: what it was opened from.
      reader: what reads the images; it can be sent to another process.
      labels: `[n]` int32, −1 where unknown.
      class_names: one name a class, empty without labels.
      fingerprint: hash of the content; a run belongs to it.
      on_corrupt: what an image that cannot be decoded does: 'stop' or 'skip', see :func:`readable`.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        labels: np.ndarray,
        class_names: Sequence[str],
        digest: str,
        on_corrupt: str = 'stop',
    ):
        self.name = name
        self.reader = reader
        self.labels = np.asarray(labels, np.int32)
        self.class_names = tuple(class_names)
        self.fingerprint = digest
        self.on_corrupt = on_corrupt
        self._shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'image': self.reader.array(int(index)), 'label': self.labels[index]}

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the first image, which is decoded once."""
        if len(self) == 0:
            raise UserError(f'{self.name} holds no images')
        if self._shape is None:
            self._shape = readable(0, len(self), self.reader.array, self.on_corrupt, {})[1].shape
        return self._shape

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def select(self, indices: np.ndarray, part: str) -> 'Source':
        """The sub-sequence at `indices`."""
        indices = np.asarray(indices, np.int64)
        digest = _digest(self.fingerprint.encode(), indices.tobytes())
        reader = Selected(self.reader, indices)
        return Source(f'{self.name}[{part}]', reader, self.labels[indices], self.class_names, digest, self.on_corrupt)

    def heeding(self, on_corrupt: str) -> 'Source':
        """The same images with another `on_corrupt`."""
        return Source(self.name, self.reader, self.labels, self.class_names, self.fingerprint, on_corrupt)

    def images(self) -> np.ndarray:
        """All images in one uint8 array; they must have one shape."""
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
        for index, (_, image) in enumerate(rows):
            if image.shape != rows[0][1].shape:
                raise UserError(
                    f'{self.name} mixes image shapes: number 0 is {list(rows[0][1].shape)} and number {index} is '
                    f'{list(image.shape)}; set data.image_size (and data.channels) to bring them to one'
                )
        return np.stack([image for _, image in rows]), self.labels[[at for at, _ in rows]], skipped


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
                raise
            skipped[at] = str(error)
    raise UserError(f'none of the {count} images can be decoded, number {index} for one: {skipped[index]}')


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def check_labels(labels: np.ndarray, name: str) -> None:
    """Refuses integers that number no classes: below −1, or so large that counting them would fill the memory."""
    if len(labels) and not -1 <= labels.min() <= labels.max() < MOST_CLASSES:
        raise UserError(
            f'{name}: labels must lie in -1 ... {MOST_CLASSES - 1}, and reach from {labels.min()} to {labels.max()}'
        )


def from_arrays(name: str, images: np.ndarray, labels: np.ndarray | None, class_names: Sequence[str] = ()) -> Source:
    """A source over arrays in memory: uint8 images `[n, height, width(, channels)]`, integer labels `[n]`."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise UserError(
            f'{name}: images must be uint8 of shape [n, height, width] or [n, height, width, channels], '
            f'not {images.dtype} {list(images.shape)}'
        )
    if labels is None:
        labels, class_names = np.full(len(images), -1), ()
    labels = np.asarray(labels).reshape(-1) if np.ndim(labels) == 2 and np.shape(labels)[1] == 1 else np.asarray(labels)
    if labels.ndim != 1 or len(labels) != len(images):
        raise UserError(f'{name}: {len(images)} images and labels of shape {list(labels.shape)} do not match')
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f'{name}: labels must be integers, not {labels.dtype}')
    check_labels(labels, name)
    if len(labels) and not len(class_names) and labels.max() >= 0:
        class_names = [str(c) for c in range(int(labels.max()) + 1)]
    digest = _digest(np.ascontiguousarray(images).tobytes(), labels.astype(np.int32).tobytes())
    return Source(name, Arrays(images), labels, class_names, digest)


def open_source(spec: str, *, data_dir: str = '', test_fraction: float = 0.2) -> tuple[Source, Source]:
    """The train and test sources of `digits`, `tfds:<name>`, `npz:<file>`, `folder:<path>` or `shards:<folder>`.

    Args:
      spec: what to open.
      data_dir: where TFDS keeps data sets; '' is its default (or $TFDS_DATA_DIR).
      test_fraction: share set apart, class by class, where there is no test split.

    Raises:
      UserError: when it cannot be opened, saying why.
    """
    kind, _, rest = spec.partition(':')
    if kind == 'digits' and not rest:
        return _digits()
    if kind in ('tfds', 'npz', 'folder', 'shards') and rest:
        if kind == 'tfds':
            return _tfds(rest, data_dir)
        if kind == 'shards':
            return _shards(rest, 'train'), _shards(rest, 'test')
        return (_npz if kind == 'npz' else _folder)(rest, test_fraction)
    raise UserError(f'data.source={spec!r} is unknown{nearest(spec, KINDS)}')


def split(source: Source, fraction: float, *, seed: int, parts: tuple[str, str]) -> tuple[Source, Source]:
    """Two disjoint parts, `fraction` of each class in the second (at least one image), the rest in the first."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    second: list[int] = []
    for label in np.unique(source.labels):
        members = np.flatnonzero(source.labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        second.extend(members[np.argsort(generator.random(len(members)), kind='stable')[: max(count, 0)]])
    if not second:
        raise UserError(f'{source.name} holds {len(source)} images, too few to set {fraction:.0%} of each class apart')
    chosen = np.zeros(len(source), bool)
    chosen[second] = True
    return source.select(np.flatnonzero(~chosen), parts[0]), source.select(np.flatnonzero(chosen), parts[1])


def first_of_each_class(source: Source, count: int) -> Source:
    """The first `count` images of each class, in order."""
    kept = np.sort(np.concatenate([np.flatnonzero(source.labels == c)[:count] for c in np.unique(source.labels)]))
    return source.select(kept, f'{count} a class')


def _digits() -> tuple[Source, Source]:
    """scikit-learn's 1,797 handwritten 8×8 digits: 1,437 to train, 360 to test, the same in each class."""
    from sklearn.datasets import load_digits

    flat, labels = load_digits(return_X_y=True)
    images = np.round(flat.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return split(from_arrays('digits', images, np.asarray(labels)), 0.2, seed=0, parts=('train', 'test'))


def _tfds(name: str, data_dir: str) -> tuple[Source, Source]:
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # else it recommends OpenCV at every start
    try:
        builder: Any = tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(f'tfds:{name} is unknown{nearest(name.split("/")[0].split(":")[0], known)}') from error
    except Exception as error:
        raise UserError(f'tfds:{name} cannot be opened: {type(error).__name__}: {error}') from error
    try:
        if not builder.is_prepared():
            builder.download_and_prepare(file_format='array_record')
    except Exception as error:
        where = builder.data_dir
        raise UserError(f'tfds:{name} is not in {where} and could not be prepared: {type(error).__name__}') from error
    info = builder.info
    for feature in ('image',):
        if feature not in info.features:
            raise UserError(f'tfds:{name} has no {feature!r}; it has {", ".join(info.features)}')
    test_name = next((s for s in ('test', 'validation') if s in info.splits), None)
    if 'train' not in info.splits or test_name is None:
        raise UserError(f'tfds:{name} needs train and test (or validation) splits; it has {", ".join(info.splits)}')

    def one(part: str) -> Source:
        try:
            rows: Any = builder.as_data_source(split=part)
        except Exception as error:
            raise UserError(
                f'tfds:{name} in {builder.data_dir} cannot be read without TensorFlow: prepare it with '
                f"file_format='array_record' ({type(error).__name__})"
            ) from error
        if len(rows) == 0:
            raise UserError(f'tfds:{name} has an empty split {part}')
        labelled = 'label' in info.features
        labels = _tfds_labels(rows, labelled)
        names = getattr(info.features['label'], 'names', None) if labelled else ()
        digest = _digest(f'{info.full_name} {part} {len(rows)}'.encode(), labels.tobytes())
        reader = Tfds(name, os.path.expanduser(data_dir) or None, part, rows)
        return Source(f'tfds:{name}[{part}]', reader, labels, names or (), digest)

    return one('train'), one(test_name)


def _tfds_labels(rows: Any, labelled: bool) -> np.ndarray:
    """Labels alone, without decoding the images."""
    if not labelled:
        return np.full(len(rows), -1, np.int32)
    decoded = rows.data_source.__getitems__(range(len(rows))) if hasattr(rows, 'data_source') else None
    if decoded is None:
        return np.array([rows[i]['label'] for i in range(len(rows))], np.int32)
    parse = rows.dataset_info.features.deserialize_example_np
    from tensorflow_datasets.core import decode

    skip = decode.SkipDecoding()
    return np.array([parse(row, decoders={'image': skip})['label'] for row in decoded], np.int32)


def _npz(path: str, test_fraction: float) -> tuple[Source, Source]:
    arrays = read_arrays(expanded(path), f'data.source=npz:{path}')

    def pick(*names: str) -> np.ndarray | None:
        return next((arrays[n] for n in names if n in arrays), None)

    train = pick('train_images', 'x_train', 'images')
    if train is None:
        raise UserError(
            f'{path} holds {", ".join(arrays) or "nothing"}; it needs train_images (and train_labels, test_images, '
            f'test_labels), or images and labels'
        )
    if len(train) == 0:
        raise UserError(f'{path} holds no images')
    labels = pick('train_labels', 'y_train', 'labels')
    source = from_arrays(f'npz:{path}', train, labels)
    test = pick('test_images', 'x_test')
    if test is None:
        return split(source, test_fraction, seed=0, parts=('train', 'test'))
    return source, from_arrays(f'npz:{path}[test]', test, pick('test_labels', 'y_test'), source.class_names)


def _list_folder(root: Path) -> tuple[list[Path], list[str], list[int]]:
    """Image files below `root`, class names from its sub-folders (none when it is flat), and labels."""
    flat = sorted(p for p in root.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if flat:
        return flat, [], [-1] * len(flat)
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = sorted(p for p in folder.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
        files += found
        labels += [label] * len(found)
    return files, [f.name for f in folders], labels


def _folder(path: str, test_fraction: float) -> tuple[Source, Source]:
    root = expanded(path)
    if not root.is_dir():
        raise UserError(f'data.source=folder:{path}: there is no such folder')
    train_root = root / 'train'
    test_root = next((root / n for n in ('test', 'val', 'validation') if (root / n).is_dir()), None)
    if train_root.is_dir() and test_root is not None:
        train, test = _folder_source(train_root), _folder_source(test_root)
        if train.class_names != test.class_names:
            odd = sorted(set(train.class_names) ^ set(test.class_names))
            raise UserError(f'{train_root} and {test_root} have different class folders: {", ".join(odd[:5])}')
        return train, test
    return split(_folder_source(root), test_fraction, seed=0, parts=('train', 'test'))


def _folder_source(root: Path) -> Source:
    files, names, labels = _list_folder(root)
    if not files:
        raise UserError(f'{root} holds no images (looked for {", ".join(sorted(IMAGE_SUFFIXES))})')
    listing = '\n'.join(f'{f.relative_to(root)} {f.stat().st_size}' for f in files)
    return Source(f'folder:{root}', Files(files), np.array(labels), names, _digest(listing.encode()))


def _shards(path: str, part: str) -> Source:
    packed = shards.open_part(expanded(path), part)
    digest = _digest(packed.fingerprint.encode())
    return Source(f'shards:{path}[{part}]', packed.reader, packed.labels, packed.class_names, digest)


def fitted(source: Source, *, image_size: int = 0, channels: int = 0, pad: int = 0) -> Source:
    """The source with every image brought to one size, channel count and border, where asked."""
    if not (image_size or channels or pad):
        return source
    digest = _digest(source.fingerprint.encode(), f'size {image_size} channels {channels} pad {pad}'.encode())
    reader = Fitted(source.reader, image_size, channels, pad)
    return Source(source.name, reader, source.labels, source.class_names, digest, source.on_corrupt)
