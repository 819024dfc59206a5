"""Damage to the files that commands read."""

import io
import json
import os
import pickle
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz_outcome import ROOT, attempt, hashes, lost
from fuzz_table import Outcome
from PIL import Image

SMALL_RUN = [
    f'--config={ROOT}/experiments/digits/vicreg.py',
    '--config.model.widths=(4, 8)', '--config.projector.widths=(16, 8)',
    '--config.data.batch_size=16', '--config.train.epochs=3', '--config.optimizer.warmup_epochs=1',
    '--config.evaluate.label_draws=1', '--config.checkpoint.every_epochs=1', '--config.monitor.every_epochs=1',
    '--config.data.holdout=0.3', '--config.data.pad=0', '--config.data.channels=1', '--config.train.log_every=1',
]  # fmt: skip
SUFFIXES = ('png', 'jpg', 'bmp', 'gif', 'tif', 'webp')


# What is whole, made once.


def make_material(folder: Path) -> None:
    """Small sets of images, a run, features and encoders in every format that commands read."""
    make_data(folder)
    must('pack', [f'--data=folder:{folder}/images', f'--out={folder}/packed'])
    must('train', [*SMALL_RUN, f'--config.data.source=npz:{folder}/grey.npz', f'--workdir={folder}/run'])
    shutil.copytree(folder / 'run', folder / 'other')
    make_encoders(folder)


def make_data(folder: Path) -> None:
    """Images in every form, features, and a list of classes: what takes no network."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:96] * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target[:96] % 4
    np.savez(folder / 'grey.npz', images=images, labels=labels)
    rng = np.random.default_rng(0)
    np.savez(
        folder / 'tiny.npz',
        train_images=rng.integers(0, 256, (64, 16, 16, 3), np.uint8), train_labels=np.arange(64) % 4,
        test_images=rng.integers(0, 256, (16, 16, 16, 3), np.uint8), test_labels=np.arange(16) % 4,
    )  # fmt: skip
    for i in range(24):
        file = folder / 'images' / 'ab'[i % 2] / f'{i}.{SUFFIXES[i % 6]}'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i, ..., 0]).resize((12, 12)).save(file)
    (folder / 'classes.txt').write_text('b\na\n')
    both = {}
    for name, count in (('train', 60), ('test', 20)):
        arrays = {'features': rng.normal(size=(count, 8)).astype('f4'), 'labels': np.arange(count) % 3}
        np.savez(folder / f'{name}.npz', **arrays)
        both |= {f'{name}_{key}': array for key, array in arrays.items()}
    np.savez(folder / 'embedded.npz', **both, class_names=np.array(['a', 'b', 'c']))


def must(command: str, line: list[str]) -> None:
    """Runs a command that has to succeed."""
    verdict, sentence = attempt(command, line)
    if verdict != 'ran':
        raise RuntimeError(f'{command} of undamaged files: {sentence}')


def make_encoders(folder: Path) -> None:
    """A ResNet and a ViT, untrained, as a folder and as files of every format."""
    import sys

    import jax
    from selfsup import weights as foreign
    from selfsup.weights import values as weights

    sys.path.append(str(ROOT / 'tests'))
    import torch_like

    for model in (
        {'name': 'resnet18', 'stem': 'cifar', 'width': 4},
        {'name': 'vit_ti', 'patch': 4, 'depth': 1, 'grid': 4},
    ):
        fields = weights.complete(model)
        tree = weights.build(fields).init(jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))
        ours = weights.Weights(
            fields, tree['params'], tree.get('batch_stats', {}), crop=16, mean=(0.5,) * 3, std=(0.5,) * 3, origin='timm'
        )
        name = 'encoder' if model['name'] == 'resnet18' else 'vit'
        foreign.write(ours, folder / name)
        arrays = foreign.state_dict(ours, names='timm')
        state = {k: torch_like.Tensor(v) for k, v in arrays.items()}
        torch_like.save({'state_dict': state, 'epoch': 3}, folder / f'{name}.pth')
        torch_like.save(state, folder / f'{name}_legacy.pth', legacy=True)
        foreign.write(ours, folder / f'{name}.safetensors')


# Damage to any file.


def cut(b: bytes, r: random.Random) -> bytes:
    return b[: r.randrange(max(len(b), 1))]


def flip(b: bytes, r: random.Random) -> bytes:
    out = bytearray(b)
    for _ in range(r.choice((1, 1, 3, 20)) if b else 0):
        out[r.randrange(len(out))] ^= 1 << r.randrange(8)
    return bytes(out)


def blank(b: bytes, r: random.Random) -> bytes:
    at, size = r.randrange(max(len(b), 1)), r.choice((1, 16, 512))
    return b[:at] + bytes(min(size, len(b) - at)) + b[at + size :]


def noise(b: bytes, r: random.Random) -> bytes:
    return r.randbytes(r.choice((1, 10, len(b) or 1)))


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut, cut, flip, flip, flip, blank, noise, lambda b, r: b'', lambda b, r: b + r.randbytes(9),
    lambda b, r: b[r.randrange(9) :],
)  # fmt: skip


def damage(file: Path, r: random.Random) -> str:
    """Changes, empties or removes a file, or puts something else in its place; returns what was done."""
    choice = r.random()
    if choice < 0.1:
        file.unlink()
        return f'deleted {file.name}'
    if choice < 0.17:
        file.unlink()
        (file.symlink_to('/nowhere') if choice < 0.13 else file.mkdir())
        return f'{file.name} became a {"dangling link" if choice < 0.13 else "folder"}'
    old = file.read_bytes()
    change = r.choice(BYTES)
    new = change(old, r)
    file.write_bytes(new)
    return f'{change.__name__} {file.name}, {len(old)} to {len(new)} bytes'


# Damage that keeps the format.

VALUES: tuple[Any, ...] = (
    None, -1, 0, 1e30, 10**30, float('nan'), '', 'x', [], {}, [1, 'x'], True, [[1]], '../x', 0.5,
    ['../../etc/passwd'], [None],
)  # fmt: skip


def rewrite_json(file: Path, r: random.Random) -> str:
    """One value of a JSON file replaced or removed, at any depth; the first line's of a .jsonl file's."""
    text = file.read_text()
    lines = text.splitlines() if file.suffix == '.jsonl' else [text]
    at = r.randrange(len(lines))
    content = json.loads(lines[at])
    if r.random() < 0.1:
        content, key = r.choice(VALUES), 'everything'
    else:
        node, key = content, r.choice(list(content))
        while isinstance(node[key], dict) and node[key] and r.random() < 0.8:
            node = node[key]
            key = r.choice(list(node))
        if r.random() < 0.25:
            del node[key]
        else:
            node[key] = r.choice(VALUES)
    lines[at] = json.dumps(content)
    file.write_text('\n'.join(lines) + '\n')
    return f'{key} of {file.name} changed'


def rewrite_npz(file: Path, r: random.Random) -> str:
    """One array of an npz file with other content, or none."""
    with np.load(file, allow_pickle=False) as archive:
        arrays: dict[str, Any] = dict(archive)
    name = r.choice([name for name, array in arrays.items() if array.dtype.kind != 'U'])
    old, kind = arrays[name], arrays[name].astype
    new = r.choice([
        None, kind(object), kind('f8'), kind('c8'), kind('U8'), kind(bool), kind('>i4'), kind('V4'), kind('i8') - 5,
        old.reshape(-1), np.array(3), np.full(old.shape, np.nan), old[None], old[:0], old[:3],
        np.full(old.shape, 2**40), kind('M8[s]') if old.dtype.kind in 'iu' else None, np.zeros((0, 4)),
        np.concatenate([old, old]), old[..., :0],
    ])  # fmt: skip
    arrays.pop(name)
    if new is not None:
        arrays[name] = new
    np.savez(file, **arrays)
    return f'{name} of {file.name} became {"absent" if new is None else f"{new.dtype} {new.shape}"}'


def huge_npz(file: Path, r: random.Random) -> str:
    """A header that declares more numbers than there are."""
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '|u1', 'fortran_order': False, 'shape': (10**6, 10**5)})
    with zipfile.ZipFile(file, 'w') as archive:
        for name in ('images', 'train_images', 'features', 'labels', 'train_labels', 'test_images', 'test_labels'):
            archive.writestr(f'{name}.npy', header.getvalue())
    return 'arrays of 10^11 numbers'


def png(width: int, height: int, data: bytes = b'') -> bytes:
    """A PNG file that says it has these sides."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')


def replace_image(file: Path, r: random.Random) -> str:
    """Something else under an image's name."""
    new = r.choice((
        png(60_000, 60_000), png(2**31 - 1, 2**31 - 1), png(0, 0), png(12_000, 12_000), png(1, 1, b'\0\0'), png(12, 12),
        b'GIF89a' + bytes(20), b'II*\0' + bytes(30), b'<svg/>', b'text', b'\xff\xd8\xff', b'RIFF\x10\0\0\0WEBPVP8 ',
        b'BM' + bytes(60),
    ))  # fmt: skip
    file.write_bytes(new)
    return f'{file.name} became {new[:30]!r}'


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch {self.marker}',)


def plant(file: Path, r: random.Random) -> str:
    """A checkpoint that would run a program if it were unpickled."""
    import zipfile

    data = pickle.dumps({'state_dict': {}, 'x': Bomb(file.parent / 'marker')}, protocol=2)
    if r.random() < 0.5:
        file.write_bytes(r.choice((b'', pickle.dumps(0x1950A86A20F9469CFC6C, 2))) + data)
    else:
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('archive/data.pkl', data)
    return f'code in {file.name}'


def object_npz(file: Path, r: random.Random) -> str:
    """An npz file with a pickled object that would run a program."""
    with np.load(file, allow_pickle=False) as archive:
        arrays: dict[str, Any] = dict(archive)
    arrays[r.choice(list(arrays))] = np.array([Bomb(file.parent / 'marker')] * 3, object)
    np.savez(file, **arrays)
    return f'code in {file.name}'


# What is damaged, how, and which commands read it.


class Case(NamedTuple):
    """A kind of file: what is needed of the material, which files are damaged, how, and what reads them."""

    needs: tuple[str, ...]
    files: str
    ways: tuple[Callable[[Path, random.Random], str], ...]
    lines: tuple[tuple[str, ...], ...]


EMBED = ('embed', '--workdir={}/run', '--out={}/new.npz')
RANKS = ('evaluate', '--workdir={}/run', '--only=ranks', '--out={}/new.json')
RESUME = (
    'train', *SMALL_RUN, '--config.data.source=npz:<material>/grey.npz', '--workdir={}/run',
    '--config.train.stop_after_steps=1',
)  # fmt: skip
SELECT = ('select', '{}/run', '{}/other', '--by=rankme', '--alarm=off')
SHARDS = (*EMBED, '--data=shards:{}/packed')
FEATURES = ('evaluate', '--features', '{}/train.npz', '{}/test.npz', '--out={}/new.json')
JSON = (damage, rewrite_json, rewrite_json)
ARRAYS = (damage, rewrite_npz, rewrite_npz, huge_npz, object_npz)
PTH = ('encoder', 'vit', 'encoder_legacy', 'vit_legacy')
SAFETENSORS = ('encoder.safetensors', 'encoder.json', 'vit.safetensors', 'vit.json')
# In the commands `{}` is the folder.
CASES: dict[str, Case] = {
    'checkpoint': Case(('run',), 'run/checkpoints/{newest}/**/*', (damage,), (EMBED, EMBED, RANKS, RESUME)),
    'config.json of a run': Case(('run', 'other'), 'run/config.json', JSON, (EMBED, RANKS, RESUME, SELECT)),
    'metrics.jsonl': Case(('run', 'other'), 'run/metrics.jsonl', (damage, rewrite_json), (RESUME, SELECT, SELECT)),
    'results.json': Case(('run', 'other'), 'run/results.json', (damage, rewrite_json), (SELECT,)),
    'image': Case(('run', 'images'), 'images/*/*', (damage, damage, replace_image), (
        ('pack', '--data=folder:{}/images', '--out={}/new'),
        ('pack', '--data=folder:{}/images', '--out={}/new', '--on-corrupt=skip', '--short-side=8'),
        ('embed', '--workdir={}/run', '--data=folder:{}/images', '--out={}/new.npz'),
    )),
    'npz images': Case(('run', 'grey.npz'), 'grey.npz', ARRAYS, (
        (*EMBED, '--data=npz:{}/grey.npz'), ('pack', '--data=npz:{}/grey.npz', '--out={}/new'),
    )),
    'shards': Case(('run', 'packed'), 'packed/*', (damage,), (SHARDS,)),
    'index of shards': Case(('run', 'packed'), 'packed/meta.json', JSON, (SHARDS,)),
    'features': Case(('train.npz', 'test.npz', 'embedded.npz'), '*.npz', ARRAYS, (
        FEATURES, ('evaluate', '--features', '{}/embedded.npz'),
    )),
    'encoder, safetensors': Case(SAFETENSORS, '*.*', (damage,), tuple(
        ('convert', f'--from={{}}/{name}.safetensors', '--to={}/new') for name in ('encoder', 'vit')
    )),
    'encoder, folder': Case(('encoder', 'vit'), '*/config.json', JSON, (
        ('convert', '--from={}/encoder', '--to={}/new'), ('convert', '--from={}/vit', '--to={}/new'),
    )),
    'encoder, pth': Case(tuple(f'{name}.pth' for name in PTH), '*.pth', (damage, damage, damage, plant), tuple(
        ('convert', f'--from={{}}/{name}.pth', '--to={}/new') for name in PTH
    )),
    'list of classes': Case(('images', 'classes.txt'), 'classes.txt', (damage,), (
        ('pack', '--data=folder:{}/images', '--out={}/new', '--classes={}/classes.txt'),
    )),
}  # fmt: skip
COMMON = ('checkpoint', 'image', 'npz images', 'encoder, pth', 'shards')


def trial(seed: int, number: int, material: Path, folder: Path, kind: str = '') -> Outcome:
    """Copies what a case needs, damages it, and runs a command on it; the kind of case is drawn if it is not given."""
    from selfsup.engine.checkpoint import Checkpoints

    r = random.Random(f'files {seed} {number}')
    kind = kind or r.choice((*CASES, *COMMON))
    case = CASES[kind]
    command, line = prepared(case, r.choice(case.lines), material, folder)
    saved = Checkpoints(folder / 'run', read_only=True).steps() if 'run' in case.needs else [0, 0]
    found = [f for f in sorted(folder.glob(case.files.format(newest=saved[-1]))) if f.is_file()]
    file = r.choice(found)
    done = r.choice(case.ways)(file, r)
    before = hashes(folder)
    verdict, sentence = attempt(command, line)
    name = str(file.relative_to(folder))

    def may_change(path: str) -> bool:
        if command != 'train' or (path == name and kind == 'config.json of a run' and verdict != 'ran'):
            return path.startswith('new') or path == 'run/.lock'
        return path.startswith('run/') and not path.startswith(f'run/checkpoints/{saved[-2]}/')

    gone = lost(before, hashes(folder), may_change)
    if (folder / 'marker').exists() or list(folder.glob('**/marker')):
        verdict, sentence = 'traceback', 'code of a file was run'
    elif gone:
        verdict, sentence = 'lost file', ', '.join(gone[:3])
    elif kind == 'checkpoint' and command == 'embed' and verdict == 'ran':
        silent = not any(same_features(folder / 'new.npz', material / f'features_{step}.npz') for step in saved)
        verdict, sentence = ('unclear', 'features of no checkpoint that was saved') if silent else (verdict, sentence)
    return Outcome(kind, verdict, sentence, f'{done}; python -m selfsup.{command} {" ".join(line)}')


def every_case(material: Path, folder: Path) -> list[str]:
    """Commands that refuse what is whole: none, or damage would mean nothing."""
    bad = []
    for number, (kind, case) in enumerate(CASES.items()):
        for turn, words in enumerate(dict.fromkeys(case.lines)):
            place = folder / f'{number}_{turn}'
            place.mkdir()
            verdict, sentence = attempt(*prepared(case, words, material, place))
            if verdict != 'ran':
                bad.append(f'{kind}: {" ".join(words)}: {sentence}')
    return bad


def prepared(case: Case, words: tuple[str, ...], material: Path, folder: Path) -> tuple[str, list[str]]:
    """Copies what a case needs; returns the command and its arguments."""
    for name in case.needs:
        (shutil.copytree if (material / name).is_dir() else shutil.copy)(material / name, folder / name)
    command, *line = [word.replace('{}', str(folder)).replace('<material>', str(material)) for word in words]
    return command, line


def same_features(a: Path, b: Path) -> bool:
    """Whether two files of selfsup.embed hold the same numbers; the second is made when it is first asked for."""
    if not b.is_file():
        must('embed', [f'--workdir={b.parent}/run', f'--step={b.stem.split("_")[1]}', f'--out={b}'])
    with np.load(a) as x, np.load(b) as y:
        return all(np.array_equal(x[k], y[k]) for k in ('train_features', 'test_features'))
