"""Images of every mode, and arrays of images, labels and rows of every type and rank."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_cases import OUT, Case, Right, of_banner, reading
from fuzz_folders import image
from fuzz_outcome import ROOT
from PIL import Image
from selfsup.data import sources

TOLERANCE = 4  # of a level after JPEG, palettes and CMYK
SIDES = ((8, 8), (8, 8), (9, 33), (1, 1), (1, 300), (3000, 1), (2, 700))


def full(mode: str, level: Any, ending: str, **options: Any) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    """Makes an image of one colour."""

    def make(size: tuple[int, int]) -> tuple[bytes, str]:
        stream = io.BytesIO()
        kind = {'jpg': 'jpeg', 'tif': 'tiff'}.get(ending, ending)
        picture = Image.new(mode, size, level)
        if mode == 'P':
            picture.putpalette([120, 120, 120] * 256)
        picture.save(stream, kind, **options)
        return stream.getvalue(), ending

    return make


def array(level: float, dtype: str, ending: str) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    """Makes an image of one level from an array."""

    def make(size: tuple[int, int]) -> tuple[bytes, str]:
        stream = io.BytesIO()
        Image.fromarray(np.full((size[1], size[0]), level, dtype)).save(stream, {'tif': 'tiff'}.get(ending, ending))
        return stream.getvalue(), ending

    return make


def turned(orientation: int) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return full('RGB', (120, 120, 120), 'jpg', exif=exif)


def cut_short(make: Callable, share: float) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    def shorter(size: tuple[int, int]) -> tuple[bytes, str]:
        content, ending = make((64, 64))
        return content[: int(len(content) * share)], ending

    return shorter


def noisy(ending: str) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    """Random pixels, so that what is cut off is missed."""

    def make(size: tuple[int, int]) -> tuple[bytes, str]:
        stream = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(stream, {'jpg': 'jpeg'}.get(ending, ending))
        return stream.getvalue(), ending

    return make


def moving(ending: str) -> Callable[[tuple[int, int]], tuple[bytes, str]]:
    """Two frames, of which the first counts."""

    def make(size: tuple[int, int]) -> tuple[bytes, str]:
        stream = io.BytesIO()
        first, second = (Image.new('L', size, level) for level in (120, 20))
        kind = {'tif': 'tiff'}.get(ending, ending)
        first.save(stream, kind, save_all=True, append_images=[second])
        return stream.getvalue(), ending

    return make


CORRUPT, REFUSED = 'corrupt', 'refused'
# What is made, and what is right: the level of every channel, or that it is refused, or counts as corrupt.
MODES: dict[str, tuple[Callable[[tuple[int, int]], tuple[bytes, str]], Any]] = {
    '1': (full('1', 1, 'png'), 255), '1 tif': (full('1', 1, 'tif'), 255),
    'L': (full('L', 120, 'png'), 120), 'L jpg': (full('L', 120, 'jpg'), 120), 'L webp': (full('L', 120, 'webp'), 120),
    'LA': (full('LA', (120, 0), 'png'), 120), 'P': (full('P', 3, 'png'), 120), 'P gif': (full('P', 3, 'gif'), 120),
    'P clear': (full('P', 3, 'png', transparency=3), 120), 'L clear': (full('L', 120, 'png', transparency=120), 120),
    'RGB': (full('RGB', (120, 120, 120), 'png'), 120), 'RGB bmp': (full('RGB', (120, 120, 120), 'bmp'), 120),
    'RGBA': (full('RGBA', (120, 120, 120, 0), 'png'), 120), 'RGBA tif': (full('RGBA', (120, 120, 120, 0), 'tif'), 120),
    'CMYK jpg': (full('CMYK', (0, 0, 0, 135), 'jpg'), 120), 'CMYK tif': (full('CMYK', (0, 0, 0, 135), 'tif'), 120),
    'YCbCr': (full('YCbCr', (120, 128, 128), 'jpg'), 120), 'LAB': (full('LAB', (128, 128, 128), 'tif'), None),
    'I;16': (array(120 * 256 + 7, 'u2', 'png'), 120), 'I;16 tif': (array(120 * 256 + 7, 'u2', 'tif'), 120),
    'I;16B': (array(120 * 256 + 7, '>u2', 'tif'), 120), 'I tif': (array(120, 'i4', 'tif'), REFUSED),
    'F': (array(120 / 255, 'f4', 'tif'), 120), 'F to 255': (array(120, 'f4', 'tif'), REFUSED),
    'F nan': (array(np.nan, 'f4', 'tif'), REFUSED), 'F below 0': (array(-0.5, 'f4', 'tif'), REFUSED),
    **{f'orientation {n}': (turned(n), 120) for n in (0, 1, 3, 6, 8, 9, 65535)},
    'gif of 2': (moving('gif'), 120), 'tif of 2': (moving('tif'), 120), 'webp of 2': (moving('webp'), 120),
    'cut png': (cut_short(noisy('png'), 0.6), CORRUPT), 'cut jpg': (cut_short(noisy('jpg'), 0.5), CORRUPT),
    'head alone': (cut_short(noisy('png'), 0.003), CORRUPT), 'empty': (lambda size: (b'', 'png'), CORRUPT),
    'text': (lambda size: (b'<html>not found</html>', 'jpg'), CORRUPT),
}  # fmt: skip


def modes(material: Path, folder: Path, r: random.Random) -> Case:
    """Plain images, and one to three of another mode or shape among them."""
    root, chosen = folder / 'set', r.sample(list(MODES), r.randint(1, 3))
    files, rights = {}, {}
    for number in range(14):
        files[image(root / 'ab'[number % 2] / f'{number}.png', r)] = 'ab'[number % 2]
    for number, name in enumerate(chosen):
        make, right = MODES[name]
        label = r.choice('ab')
        content, ending = make(r.choice(SIDES))
        file = root / label / f'odd{number}.{ending}'
        file.write_bytes(content)
        files[file], rights[file] = label, right
    bad = [file for file, right in rights.items() if right in (CORRUPT, REFUSED)]
    seen = {str(f): c for f, c in files.items()}
    right = Right(len(files), None, ('a', 'b'), seen)
    case = reading(
        f'folder:{root}',
        right,
        material,
        folder,
        r,
        f'modes {chosen}',
        command='pack' if r.random() < 0.7 else '',
    )
    line, blend = list(case.line), 'none'
    refused = bad[0].name.split('.')[0] if len(bad) == 1 else 'odd' if bad else ''
    if case.command == 'pack':
        blend = r.choice(('none', 'none', 'white', 'black'))
        line += [f'--background={blend}', f'--orientation={r.choice(("stored", "exif"))}']
        skip = r.random() < 0.4
        line += ['--on-corrupt=skip'] if skip else []
        if skip and all(rights[f] == CORRUPT for f in bad):
            left = {f: c for f, c in seen.items() if Path(f) not in bad}
            right, refused = right._replace(train=len(left), files=left), ''
            case = reading(f'folder:{root}', right, material, folder, r, case.done, command='pack')
        line = line[:2] + line[2:]
        line[line.index('--short-side=8')] = '--short-side=0'
    inner = case.check

    def check(said: str) -> str:
        wrong = inner(said)
        if wrong or case.command != 'pack' or blend != 'none':
            return wrong
        return levels(folder / OUT / 'packed', [v for v in rights.values() if v not in (CORRUPT, REFUSED)])

    # `train` stops at a corrupt image when it comes to it.
    return case._replace(line=line, refused=None if bad and case.command == 'train' else refused, check=check)


def levels(packed: Path, wanted: list[Any]) -> str:
    """Whether as many packed images of one level are there as are right."""
    found = []
    for part in sources.open_source(f'shards:{packed}'):
        for number in range(len(part)):
            pixels = part.reader.array(number).astype(int)
            if np.ptp(pixels) <= 2 * TOLERANCE:
                found.append(pixels.mean())
    for level in (120, 255):
        near, least = sum(abs(f - level) <= TOLERANCE for f in found), sum(w == level for w in wanted)
        if near < least:
            return f'{near} images of level {level} where {least} are right; found {np.round(found).tolist()}'
    return ''


# Labels of an npz file.

NO_LABEL = 'labels must be'
# n, generator -> labels, and what the refusal says or ''.
LABELS: dict[str, Callable[[int, random.Random], tuple[Any, str]]] = {
    'none': lambda n, r: (None, ''), 'plain': lambda n, r: (np.arange(n) % 3, ''),
    'one class': lambda n, r: (np.full(n, 7), ''), 'all unknown': lambda n, r: (np.full(n, -1), ''),
    'some unknown': lambda n, r: (np.arange(n) % 4 - 1, ''),
    'uint8': lambda n, r: ((np.arange(n) % 3).astype('u1'), ''),
    'column': lambda n, r: ((np.arange(n) % 3)[:, None], ''), 'huge': lambda n, r: (np.arange(n) % 3 * 10**12, ''),
    'uint64': lambda n, r: ((np.arange(n) % 3).astype('u8') + np.uint64(2**63), ''),
    'near': lambda n, r: ((np.arange(n) % 3 + 2**60).astype('u8'), ''),
    'big endian': lambda n, r: ((np.arange(n) % 3).astype('>i8'), ''),
    'each its own': lambda n, r: (np.arange(n), None),
    'negative': lambda n, r: (np.arange(n) % 3 - 5, 'reach down to -5'),
    'strings': lambda n, r: (np.array(['cat', 'dog'])[np.arange(n) % 2], NO_LABEL),
    'floats': lambda n, r: (np.arange(n) % 3 / 2, NO_LABEL), 'nan': lambda n, r: (np.full(n, np.nan), NO_LABEL),
    'booleans': lambda n, r: (np.arange(n) % 2 == 0, NO_LABEL),
    'bytes': lambda n, r: (np.array([b'cat', b'dog'])[np.arange(n) % 2], NO_LABEL),
    'too few': lambda n, r: (np.zeros(n - 1, int), 'do not match'),
    'one-hot': lambda n, r: (np.eye(3, dtype=int)[np.arange(n) % 3], 'do not match'),
    'scalar': lambda n, r: (np.array(3), 'do not match'), 'empty': lambda n, r: (np.zeros(0, int), 'do not match'),
}  # fmt: skip


def labels(material: Path, folder: Path, r: random.Random) -> Case:
    """Images with labels of every kind, of train and of a test set."""
    rng = np.random.default_rng(r.randrange(2**32))
    n, m = r.randint(12, 30), r.randint(3, 9)
    arrays = {'train_images': rng.integers(0, 256, (n, 8, 8, 1), np.uint8)}
    name = r.choice(list(LABELS))
    ours, refused = LABELS[name](n, r)
    done, test, theirs = f'labels {name}', None, None
    if r.random() < 0.6:
        other = r.choice((name, 'none', 'plain', r.choice(list(LABELS))))
        theirs, again = LABELS[other](m, r)
        arrays['test_images'] = rng.integers(0, 256, (m, 8, 8, 1), np.uint8)
        done, test = f'{done}, of the test {other}', m
        refused = None if None in (refused, again) else 'labels' if refused and again else refused or again
    arrays |= {k: v for k, v in (('train_labels', ours), ('test_labels', theirs)) if v is not None}
    file = folder / 'set.npz'
    np.savez(file, **arrays)
    known: set[int] = set()
    if not refused:
        known = {int(v) for y in (ours, theirs) if y is not None for v in np.ravel(y) if v >= 0}
    classes = tuple(map(str, sorted(known))) if len(known) > 1 else ()
    right = Right(n, test, classes, {}, refused or '')
    case = reading(f'npz:{file}', right, material, folder, r, done)
    return case if refused is not None else case._replace(refused=None)


# Arrays of images.

SHAPES = 'images must be of shape'
TYPES = 'images must be uint8'
LEVELS = 'would all become'
RANGE = r'must lie in [0, 1]'
ARRAYS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    'uint8': (lambda x: x, ''), 'uint16': (lambda x: x.astype('u2') * 256, ''),
    '>u2': (lambda x: x.astype('>u2') * 256, ''),
    'f4': (lambda x: (x / 255).astype('f4'), ''), 'f2': (lambda x: (x / 255).astype('f2'), ''),
    'f8': (lambda x: x / 255, ''), 'f4 a little beyond': (lambda x: (x / 255 * 1.0005).astype('f4'), ''),
    '8 bits in 16': (lambda x: x.astype('u2'), LEVELS), 'divided twice': (lambda x: x / 255 / 600, LEVELS),
    '>f4': (lambda x: (x / 255).astype('>f4'), ''), 'no channels': (lambda x: x[..., 0], ''),
    'floats to 255': (lambda x: x.astype('f4'), RANGE), 'normalised': (lambda x: x / 127.5 - 1, RANGE),
    'nan': (lambda x: np.where(x > 250, np.nan, x / 255), RANGE),
    'inf': (lambda x: np.where(x >= x.max(), np.inf, x / 255), RANGE),
    'int64': (lambda x: x.astype('i8'), TYPES), 'int8': (lambda x: x.astype('i1'), TYPES),
    'complex': (lambda x: x * 1j, TYPES),
    'bool': (lambda x: x > 99, TYPES), 'strings': (lambda x: x.astype('U3'), TYPES),
    'uint32': (lambda x: x.astype('u4'), TYPES),
    'flat': (lambda x: x.reshape(len(x), -1), SHAPES), 'line': (lambda x: x.reshape(-1), SHAPES),
    'rank 5': (lambda x: x[None], SHAPES), 'scalar': (lambda x: np.array(3, 'u1'), ''),
    'none': (lambda x: x[:0], 'holds no images'),
    'no width': (lambda x: x[:, :, :0], SHAPES), '4 channels': (lambda x: np.repeat(x, 4, -1), 'channels'),
    'channels first': (lambda x: np.moveaxis(x, -1, 1), 'channels'), 'Fortran': (np.asfortranarray, ''),
}  # fmt: skip


def arrays(material: Path, folder: Path, r: random.Random) -> Case:
    """Arrays of images of every type and rank; the test set may have another."""
    rng = np.random.default_rng(r.randrange(2**32))
    name, n, m = r.choice(list(ARRAYS)), r.randint(12, 20), r.randint(3, 6)
    change, refused = ARRAYS[name]
    images = rng.integers(0, 256, (n, 8, 8, 1), np.uint8)
    found = {'train_images': change(images), 'train_labels': np.arange(n) % 2}
    done, test = f'images {name}', None
    if r.random() < 0.5:
        other = r.choice((name, r.choice(list(ARRAYS))))
        change, again = ARRAYS[other]
        found |= {'test_images': change(rng.integers(0, 256, (m, 8, 8, 1), np.uint8)), 'test_labels': np.arange(m) % 2}
        done, test, refused = f'{done}, of the test {other}', m, 'set.npz' if refused and again else refused or again
        refused = 'images' if 'scalar' in (name, other) else refused
    elif name == 'scalar':
        refused = 'images'
    file = folder / 'set.npz'
    np.savez(file, **found)
    case = reading(f'npz:{file}', Right(n, test, ('0', '1'), {}, refused), material, folder, r, done)
    # What reads one row of each part may not come to see the channels.
    return case._replace(refused=None) if refused == 'channels' and case.command == 'train' else case


# Rows of features.

ROWS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    'plain': (lambda x: x, ''), 'f2': (lambda x: x.astype('f2'), ''), 'f4': (lambda x: x.astype('f4'), ''),
    'constant column': (lambda x: np.where(np.arange(8) == 3, 5.0, x), ''),
    'constant': (lambda x: np.full_like(x, 7.0), ''),
    'zeros': (np.zeros_like, ''), 'one column': (lambda x: x[:, :1], ''), 'large': (lambda x: x * 1e30, ''),
    'small': (lambda x: x * 1e-30, ''), 'far': (lambda x: x + 1e6, ''),
    'equal rows': (lambda x: np.repeat(x[:1], len(x), 0), ''),
    'nan': (lambda x: np.where(x > 2, np.nan, x), 'finite'), 'inf': (lambda x: np.where(x > 2, np.inf, x), 'finite'),
    'nan column': (lambda x: np.where(np.arange(8) == 3, np.nan, x), 'finite'),
    'integers': (lambda x: x.astype(int), 'floats'),
    'rank 1': (lambda x: x[:, 0], 'floats'), 'no columns': (lambda x: x[:, :0], 'floats'),
    'none': (lambda x: x[:0], 'features'),
    'strings': (lambda x: x.astype('U5'), 'floats'), 'complex': (lambda x: x * 1j, 'floats'),
}  # fmt: skip


def rows(material: Path, folder: Path, r: random.Random) -> Case:
    """Features of every type, trained on or evaluated."""
    rng = np.random.default_rng(r.randrange(2**32))
    name = r.choice(list(ROWS))
    change, refused = ROWS[name]
    file = folder / 'set.npz'
    whole = {'train_features': change(rng.normal(size=(40, 8)).clip(-3, 3)), 'train_labels': np.arange(40) % 3}
    whole['train_features'].flat[:1] = whole['train_features'].flat[:1]
    two = r.random() < 0.6
    if two:
        whole |= {'test_features': change(rng.normal(size=(30, 8)).clip(-3, 3)), 'test_labels': np.arange(30) % 3}
    np.savez(file, **whole)
    if two and r.random() < 0.5:
        judges = r.choice(('knn', 'logistic', 'clustering', 'ranks', 'retrieval'))
        line = ['--features', str(file), f'--only={judges}', f'--out={folder}/{OUT}/a.json']
        return Case('evaluate', line, f'rows {name}', None if name in ('integers', 'large', 'small') else refused)
    right = Right(40, 30 if two else None, ('0', '1', '2'))
    fields = ('optimizer.warmup_epochs=1', 'projector.widths=(16, 8)', 'model.widths=(8,)', 'data.batch_size=4')
    line = [f'--config={ROOT}/experiments/vectors/simclr.py', f'--config.data.source=features:{file}']
    line += [*(f'--config.{f}' for f in fields), f'--workdir={folder}/{OUT}/run']
    check = lambda said: of_banner(said, right)  # noqa: E731
    return Case('train', line, f'rows {name}', None if name == 'large' else refused, check)
