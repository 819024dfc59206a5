"""A made input, the command that reads it, and what is right: shared by the kinds of `fuzz_inputs`."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from fuzz_files import SMALL_RUN

OUT = 'out'  # the folder of a trial below which its command may write
# Commands that read a source, as often as they are drawn; `embed` compiles the encoder of a run.
READERS = ['train', 'train', 'pack', 'pack', 'embed']
BANNER = re.compile(r'(\d+) (?:images|vectors|rows) to train on, (\d+) held out, (\d+) to test')


class Right(NamedTuple):
    """What a source holds by the rules of docs/data.md.

    Attributes:
      train: number of images to train on, to hold out and, where `test` is None, to test on.
      test: number of images of a test split of its own.
      classes: names of the classes, in order.
      files: image file -> name of its class, '' for none; empty where images have no files.
      refused: what the one line that refuses the source must say; '' where it must be taken.
    """

    train: int = 0
    test: int | None = None
    classes: tuple[str, ...] = ()
    files: Mapping[str, str] = MappingProxyType({})
    refused: str = ''


class Case(NamedTuple):
    """A trial that is ready.

    Attributes:
      command, line: what is run.
      done: what was made, in words.
      refused: what the refusal must say; '' where the command must run, None where either is right.
      check: takes what the command printed, and says what is wrong with what it read or wrote.
      real: `train` trains; otherwise it builds and traces.
      apart: the command runs in a process of its own.
    """

    command: str
    line: list[str]
    done: str
    refused: str | None = ''
    check: Callable[[str], str] = lambda printed: ''
    real: bool = False
    apart: bool = False


def train_line(spec: str, workdir: Path | str, *fields: str, config: str = '') -> list[str]:
    """A cheap line of `train` on a source of images."""
    line = [f'--config={config}', *SMALL_RUN[1:]] if config else SMALL_RUN
    small = ('data.batch_size=4', 'train.epochs=1', 'data.image_size=8', *fields)
    return [*line, *(f'--config.{f}' for f in small), f'--config.data.source={spec}', f'--workdir={workdir}']


def reading(
    spec: str, right: Right, material: Path, folder: Path, r: random.Random, done: str, *, command: str = ''
) -> Case:
    """A command that reads a source, drawn if it is not given, and what it must have seen."""
    known = [name for name in READERS if name != 'embed' or (material / 'run').is_dir()]
    command = command or r.choice(known)
    out = folder / OUT
    if command == 'train':
        return Case(command, train_line(spec, out / 'run'), done, right.refused, lambda said: of_banner(said, right))
    if command == 'embed':
        line = [f'--workdir={material}/run', f'--data={spec}', f'--out={out}/f.npz', '--image-size=8', '--channels=1']
        return Case(command, line, done, right.refused, lambda said: of_features(out / 'f.npz', right))
    line = [f'--data={spec}', f'--out={out}/packed', '--short-side=8']
    return Case(command, line, done, right.refused, lambda said: of_shards(out / 'packed', right))


def of_banner(said: str, right: Right) -> str:
    """What differs between the banner of `train` and what is right."""
    found = BANNER.search(said)
    if not found:
        return 'no banner was printed'
    train, held, test = map(int, found.groups())
    counted = (train + held, test) if right.test is not None else (train + held + test, None)
    if counted != (right.train, right.test):
        return f'{train} + {held} to train on and {test} to test, where {right.train} and {right.test} are right'
    classes = re.search(r'(\d+) classes', said)
    if classes and int(classes[1]) != len(right.classes):
        return f'{classes[1]} classes, where {len(right.classes)} are right'
    return ''


def of_features(file: Path, right: Right) -> str:
    """What differs between the file of `embed` and what is right."""
    with np.load(file) as archive:
        arrays = dict(archive)
    parts = ('train_', 'test_') if right.test is not None else ('',)
    if any(f'{part}features' not in arrays for part in parts):
        return f'{", ".join(arrays)} were written'
    counts = [len(arrays[f'{part}features']) for part in parts]
    wanted = [right.train] if right.test is None else [right.train, right.test]
    if counts != wanted:
        return f'{counts} rows, where {wanted} are right'
    if not all(np.isfinite(arrays[f'{part}features']).all() for part in parts):
        return 'features are not finite'
    if tuple(arrays['class_names']) != right.classes:
        return f'classes {list(arrays["class_names"])}, where {list(right.classes)} are right'
    found: dict[str, str] = {}
    for part in parts:
        names = [str(arrays['class_names'][label]) if label >= 0 else '' for label in arrays[f'{part}labels']]
        found |= dict(zip(map(str, arrays.get(f'{part}files', ())), names, strict=bool(right.files)))
    odd = sorted({f for f, _ in found.items() ^ right.files.items()}) if right.files else []
    return f'{odd[0]!r} has the class {found.get(odd[0])!r}, right is {right.files.get(odd[0])!r}' if odd else ''


def of_shards(folder: Path, right: Right) -> str:
    """What differs between the folder of `pack` and what is right."""
    meta = json.loads((folder / 'meta.json').read_text())
    counts = [meta['parts'][part]['count'] for part in ('train', 'test')]
    wanted = [right.train, right.test]
    if (counts if right.test is not None else [sum(counts), None]) != wanted:
        return f'{counts} images, where {wanted} are right'
    if tuple(meta['class_names']) != right.classes:
        return f'classes {meta["class_names"]}, where {list(right.classes)} are right'
    if not right.files:
        return ''
    labels = np.concatenate([np.load(folder / f'{part}-labels.npy') for part in ('train', 'test')])
    found = Counter(meta['class_names'][label] if label >= 0 else '' for label in labels)
    wanted_counts = Counter(right.files.values())
    return f'{dict(found)} of the classes, where {dict(wanted_counts)} are right' if found != wanted_counts else ''
