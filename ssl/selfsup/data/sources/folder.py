"""Folders of image files: one reading, whose rules stand in docs/data.md."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import UserError, nearest
from ...files import expanded, folder_exists, is_file, is_folder
from ..readers import Files
from .base import Options, Source, digest, split

SUFFIXES = {
    '.avif', '.bmp', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tif', '.tiff',
    '.webp',
}  # fmt: skip
# Names of the folders of splits, in any case; of several test splits the first in this order is taken.
TRAIN = ('train', 'training')
TEST = ('test', 'testing', 'val', 'valid', 'validation', 'validate', 'eval', 'evaluation', 'dev')


class Image(NamedTuple):
    """An image file: where it was found, its size, and what is the same for every name that it has by links."""

    path: Path
    size: int
    real: str


class Reading(NamedTuple):
    """The images of one split.

    Attributes:
      root: its folder.
      images: in the order of their paths.
      labels: one number an image, −1 without classes.
      names: of the class folders.
      left: what was left out: a reason or an ending -> number of files or folders.
    """

    root: Path
    images: list[Image]
    labels: list[int]
    names: list[str]
    left: Counter[str]


def open_folder(path: str, options: Options) -> tuple[Source, Source]:
    """The images of a folder, by the rules of docs/data.md."""
    root = expanded(path)
    if not folder_exists(root):
        hint = f'; it is a file, which list:{path} or npz:{path} would read' if os.path.isfile(root) else ''
        raise UserError(f'data.source=folder:{path}: there is no such folder{hint}')
    folders = {p.name: p for p in _folders(root)}
    trains = [p for name, p in folders.items() if name.lower() in TRAIN]
    tests = sorted((p for n, p in folders.items() if n.lower() in TEST), key=lambda p: TEST.index(p.name.lower()))
    if not trains and not tests:
        _check_classes(root, list(folders))
        whole = _source(read_split(root))
        return split(whole, options.test_fraction, seed=0, parts=('train', 'test'))
    if len(trains) != 1:
        what = f'the split folders {", ".join(sorted(p.name for p in trains or tests))} and no train folder'
        if trains:
            what = f'several train folders: {", ".join(sorted(p.name for p in trains))}'
        raise UserError(
            f'{root} holds {what}; a test split is never trained on: name one folder train, or give the folder of '
            f'the images themselves'
        )
    return _splits(root, trains[0], tests, [p for p in folders.values() if p not in (*trains, *tests)], options)


def _splits(
    root: Path, train_root: Path, tests: list[Path], others: list[Path], options: Options
) -> tuple[Source, Source]:
    """Train and test of a folder that holds a folder train."""
    train, candidates = read_split(train_root), [read_split(p) for p in tests]
    left: Counter[str] = Counter()
    left[f'beside {train_root.name}'] = len(_files(root, left))
    if not candidates:
        for folder in others:
            if _walk(folder, Counter(), ()):
                raise UserError(
                    f'{root} holds the split {train_root.name} and beside it {folder.name}, which is no known split'
                    f'{nearest(folder.name, TEST)}; rename it, or move it away'
                )
        return split(_source(train, left), options.test_fraction, seed=0, parts=('train', 'test'))
    test = next((c for c in candidates if bool(c.names) == bool(train.names)), candidates[0])
    left += Counter({f'in {c.root.name}': len(c.images) for c in candidates if c is not test})
    left += Counter({f'in {p.name}': len(_walk(p, Counter(), ())) for p in others})
    held = {image.real for image in test.images}
    common = [image.path for image in train.images if image.real in held]
    if common:
        raise UserError(
            f'{len(common)} files are in {train.root} and in {test.root}, {common[0]} for one; a test image is never '
            f'trained on'
        )
    # One class folder beside several others of other names ('images') holds unlabelled images.
    first, second = (
        _without_classes(one) if len(one.names) == 1 and one.names[0] not in other.names and other.names else one
        for one, other in ((train, test), (test, train))
    )
    if first.names and second.names and first.names != second.names:
        odd = sorted(set(train.names) ^ set(test.names))
        raise UserError(f'{train.root} and {test.root} have different class folders: {", ".join(odd[:5])}')
    return _source(first, left), _source(second)


def split_names(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that are alike but for one saying train and the other test: `train2017` and `val2017`."""

    def rests(name: str, words: Sequence[str]) -> set[str]:
        found = {name.lower().replace(word, '\0', 1) for word in words if word in name.lower()}
        return {rest for rest in found if any(c.isalnum() for c in rest)}

    names = list(names)
    trains = {rest: name for name in names for rest in rests(name, TRAIN)}
    return next(
        (
            (trains[rest], name)
            for name in names
            for rest in sorted(rests(name, TEST))
            if trains.get(rest, name) != name
        ),
        None,
    )


def _check_classes(folder: Path, names: list[str]) -> None:
    """Refuses folders that would be classes and are called as splits are."""
    pair = split_names(names)
    if pair:
        raise UserError(
            f'{folder} holds {pair[0]} and {pair[1]}, which look like splits and would be classes; a test split is '
            f'never trained on: call them train and test, with the classes inside them'
        )


def read_split(root: Path) -> Reading:
    """The images below a folder: in class folders, or flat.

    Raises:
      UserError: where there are none, a class folder has none, or it is not clear which images are meant.
    """
    left: Counter[str] = Counter()
    flat = _files(root, left)
    classes: dict[str, list[Image]] = {}
    empty: list[tuple[Path, Counter[str]]] = []
    for folder in _folders(root, left):
        skipped: Counter[str] = Counter()
        found = _walk(folder, skipped, (os.path.realpath(root),))
        if found:
            classes[folder.name] = found
        elif set(+skipped) != {_RUN}:  # a folder with nothing but runs is no class
            empty.append((folder, skipped))
        left += skipped
    if not classes and not flat:
        raise UserError(f'{root} holds no images{_said(left)} (looked for {", ".join(sorted(SUFFIXES))})')
    if not classes:
        return Reading(root, flat, [-1] * len(flat), [], left)
    if empty:
        folder, skipped = empty[0]
        raise UserError(f'the class folder {folder} holds no images{_said(skipped)}; move it away, or fill it')
    images = [image for found in classes.values() for image in found]
    if len(flat) > len(images):
        raise UserError(
            f'{root} holds {len(flat)} images, {flat[0].path.name} for one, and {len(images)} in folders '
            f'({", ".join(list(classes)[:3])}); it is not clear which are meant: move one of them away'
        )
    left[f'beside the class folders ({flat[0].path.name})' if flat else ''] = len(flat)
    labels = [label for label, found in enumerate(classes.values()) for _ in found]
    return Reading(root, images, labels, list(classes), left)


_HIDDEN, _RUN, _BROKEN, _CIRCLE = 'hidden', 'folder of a run', 'broken link', 'link to a folder around it'
_PIPE = 'no file but a pipe or a device'


def _entries(folder: Path, left: Counter[str]) -> list[os.DirEntry]:
    """What lies in a folder, in order, without hidden names."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    shown = [e for e in entries if not e.name.startswith('.') and e.name != '__MACOSX']
    left[_HIDDEN] += len(entries) - len(shown)
    return shown


def _holds_run(folder: Path) -> bool:
    return (folder / 'config.json').is_file() or (folder / '.lock').is_file()


def _folders(root: Path, left: Counter[str] | None = None) -> list[Path]:
    """The folders in a folder, but for hidden ones and those of runs."""
    left = Counter() if left is None else left
    found = [Path(e.path) for e in _entries(root, Counter()) if is_folder(e)]
    runs = [p for p in found if _holds_run(p)]
    left[_RUN] += len(runs)
    return [p for p in found if p not in runs]


def _files(folder: Path, left: Counter[str]) -> list[Image]:
    """The images that lie directly in a folder."""
    real, images = os.path.realpath(folder), []
    for entry in _entries(folder, left):
        ending = os.path.splitext(entry.name)[1].lower()
        if is_folder(entry):
            continue
        if not is_file(entry):
            left[_BROKEN if entry.is_symlink() else _PIPE] += 1
        elif ending not in SUFFIXES:
            left[ending or 'without an ending'] += 1
        else:
            place = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            about = entry.stat()
            if about.st_nlink > 1:  # hard links: other names of the same file, which no path says
                place = f'file {about.st_ino} on device {about.st_dev}, of {about.st_size} bytes'
            images.append(Image(Path(entry.path), about.st_size, place))
    return images


def _walk(folder: Path, left: Counter[str], around: tuple[str, ...]) -> list[Image]:
    """The images at any depth below a class folder, links followed; `around` are the folders it lies in."""
    real = os.path.realpath(folder)
    if real in around:
        left[_CIRCLE] += 1
        return []
    images = _files(folder, left)
    inside = _folders(folder, left)
    for inner in inside:
        if inner.name.lower() in (*TRAIN, *TEST):
            raise UserError(
                f'{inner} is a split below what would be a class, {folder}; name the folder that holds the '
                f'splits, with the classes inside them, or rename it'
            )
    _check_classes(folder, [inner.name for inner in inside])
    for inner in inside:
        images += _walk(inner, left, (*around, real))
    return sorted(images)


def _without_classes(reading: Reading) -> Reading:
    return reading._replace(labels=[-1] * len(reading.images), names=[])


def _said(left: Counter[str]) -> str:
    """': left out 3 .txt, 1 hidden', or '' where nothing was."""
    parts = [f'{count} {reason}' for reason, count in left.most_common() if count]
    return f': left out {", ".join(parts)}' if parts else ''


def _source(reading: Reading, more: Counter[str] | None = None) -> Source:
    files = [image.path for image in reading.images]
    listing = '\n'.join(f'{image.path.relative_to(reading.root)} {image.size}' for image in reading.images)
    notes = []
    said = _said(reading.left + (more or Counter()))
    if said:
        notes.append(f'folder:{reading.root}{said}')
    twice = len(files) - len({image.real for image in reading.images})
    if twice:
        notes.append(
            f'folder:{reading.root}: {twice} of {len(files)} files are reached twice by links, and may be in both '
            f'parts of a set that is cut in two'
        )
    name, labels = f'folder:{reading.root}', np.array(reading.labels)
    return Source(name, Files(files), labels, reading.names, digest(listing), notes=notes)
