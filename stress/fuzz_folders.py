"""Folders of images in every layout, and names with every character."""

import csv
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz_cases import OUT, READERS, Case, Right, reading, train_line
from fuzz_files import same_features
from fuzz_outcome import ROOT, attempt
from PIL import Image
from selfsup.data.sources.folder import TEST, TRAIN

PIECES = (
    '[a]', '[', ']', '[!x]', '\\', ' ', '  ', "'", '"', '\n', '\t', '\r', 'ü', '日本', '😀',
    '-', '--x=1', '%d', '%', '%s',
    '~', '*', '?', '{}', '{0}', '{', '#', '$HOME', '`', '!', ';', ':', ',', '=', '+', '\udcff', '.', '..', '&', '|',
    '>', '$a_$',
    'e\u0301', '\x7f', '\x1b[1m', '\u2028', '\x85', 'a' * 60, '(1, 2)', 'None', '1', 'npz:', 'true', '@', '^', '<b>',
    '_',
)  # fmt: skip
WRITTEN = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.jfif')
CLASSES = ('cat', 'dog', 'owl', 'n01', '7', 'Test set', 'trains', 'images')


def odd_name(r: random.Random, *, first: str = '') -> str:
    """A name of one to three odd pieces that is not hidden."""
    name = first + ''.join(r.choice(PIECES) for _ in range(r.randint(1, 3)))
    return f'x{name}' if name.startswith('.') else name


def image(file: Path, r: random.Random) -> Path:
    """A small grey image of random pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.frombuffer(r.randbytes(64), np.uint8).reshape(8, 8)
    kind = file.suffix.lower().removeprefix('.')
    kind = {'jpg': 'jpeg', 'jfif': 'jpeg', 'tif': 'tiff', 'pgm': 'ppm'}.get(kind, kind)
    with file.open('wb') as stream:
        Image.fromarray(pixels).save(stream, kind)
    return file


def filled(folder: Path, count: int, r: random.Random, *, deep: bool = False) -> list[Path]:
    """So many images in a folder, some of them further down, with endings in any case."""
    made = []
    for number in range(count):
        ending = r.choice(WRITTEN)
        ending = r.choice((ending, ending, ending.upper(), ending.title()))
        place = folder.joinpath(*(r.choice('pq') for _ in range(r.randint(0, 2)))) if deep else folder
        made.append(image(place / f'{number}{ending}', r))
    return made


def cased(name: str, r: random.Random) -> str:
    return r.choice((name, name, name.title(), name.upper()))


# What lies among the images and changes nothing, but for the links: what each adds to the images of a class.


def hidden(place: Path, aside: Path, r: random.Random) -> list[Path]:
    image(place / r.choice(('.x.png', '._0.png', '.cache/x.png', '.ipynb_checkpoints/0.jpg', '__MACOSX/a/x.png')), r)
    return []


def other_files(place: Path, aside: Path, r: random.Random) -> list[Path]:
    (place / r.choice(('notes.txt', 'Thumbs.db', 'README', 'x.png.txt', 'labels.csv', 'x.heic'))).write_bytes(b'text')
    return []


def link_to_image(place: Path, aside: Path, r: random.Random) -> list[Path]:
    (place / 'link.png').symlink_to(image(aside / f'{place.name}.png', r))
    return [place / 'link.png']


def link_to_folder(place: Path, aside: Path, r: random.Random) -> list[Path]:
    made = filled(aside / f'{place.name}s', 2, r)
    (place / 'linked').symlink_to(aside / f'{place.name}s')
    return [place / 'linked' / file.name for file in made]


def broken_link(place: Path, aside: Path, r: random.Random) -> list[Path]:
    (place / 'gone.png').symlink_to('/nowhere.png')
    return []


def self_link(place: Path, aside: Path, r: random.Random) -> list[Path]:
    name = r.choice(('self', 'self.png'))
    (place / name).symlink_to(name)
    return []


def circle(place: Path, aside: Path, r: random.Random) -> list[Path]:
    (place / 'round').symlink_to(place)
    return []


def folder_called_image(place: Path, aside: Path, r: random.Random) -> list[Path]:
    (place / 'folder.png').mkdir()
    return []


def run_inside(place: Path, aside: Path, r: random.Random) -> list[Path]:
    image(place / 'a run' / 'plots' / 'features.png', r)
    (place / 'a run' / r.choice(('config.json', '.lock'))).write_text('{}')
    return []


BESIDE: tuple[Callable[[Path, Path, random.Random], list[Path]], ...] = (
    hidden, other_files, link_to_image, link_to_folder, broken_link, self_link, circle, folder_called_image, run_inside,
)  # fmt: skip


def split_of(root: Path, aside: Path, names: list[str], r: random.Random, least: int = 5) -> dict[Path, str]:
    """Class folders, or images alone without names, and things that change nothing: image -> class."""
    found: dict[Path, str] = {}
    for name in names:
        made = filled(root / name, r.randint(least, least + 3), r, deep=True)
        for beside in r.sample(BESIDE, r.choice((0, 0, 1, 2))):
            made += beside(root / name, aside / root.name, r)
        found |= dict.fromkeys(made, name)
    if not names:
        root.mkdir(parents=True, exist_ok=True)
        found = dict.fromkeys(filled(root, r.randint(12, 15), r), '')
    elif r.random() < 0.3:
        filled(root, r.randint(1, 3), r)  # beside the classes: left out
    if r.random() < 0.3:
        r.choice((hidden, other_files, broken_link, run_inside))(root, aside, r)
    return found


def spoiled(root: Path, names: list[str], r: random.Random) -> str:
    """Makes classes ambiguous or empty: what the refusal must say."""
    way = r.choice(('empty', 'text', 'stray', 'split'))
    place = root / r.choice(names)
    if way == 'empty':
        (root / 'void' / 'deep').mkdir(parents=True)
        return 'void'
    if way == 'text':
        (root / 'void').mkdir()
        (root / 'void' / 'a.heic').write_bytes(b'text')
        return 'void'
    if way == 'stray':
        for number in range(60):
            image(root / f'stray{number}.png', r)
        return 'it is not clear'
    image(place / cased(r.choice((*TRAIN, *TEST)), r) / 'x.png', r)
    return 'split below'


def layout(material: Path, folder: Path, r: random.Random) -> Case:
    """A folder of images: with splits or without, with classes or without, whole or spoiled."""
    root, aside = folder / 'set', folder / 'aside'
    names = sorted(r.sample(CLASSES, r.randint(2, 4))) if r.random() < 0.75 else []
    names = names or r.choice(([], ['images']))
    way = r.choice(('plain', 'plain', 'train', 'train and tests', 'train and tests', 'tests', 'unknown', 'like splits'))
    if way == 'like splits':
        before, after = r.choice((('', '2017'), ('', '_set'), ('seg_', ''), ('', 'A'), ('my ', ' images')))
        for word in (r.choice(TRAIN), r.choice(TEST)):
            split_of(root / f'{before}{cased(word, r)}{after}', aside / word, names, r)
        return reading(
            f'folder:{root}', Right(refused='look like splits'), material, folder, r, f'{before}train{after}'
        )
    if way == 'plain':
        files = split_of(root, aside, names, r, 12 if len(names) == 1 else 5)
        refused = spoiled(root, names, r) if len(names) > 1 and r.random() < 0.25 else ''
        right = source_right(files, None, names, refused)
        return reading(f'folder:{root}', right, material, folder, r, f'folder {names}')
    if way == 'tests':
        split_of(root / cased(r.choice(TEST), r), aside, names, r, 12)
        if r.random() < 0.5:
            filled(root / 'more', 9, r)
        right = Right(refused='no train folder')
        return reading(f'folder:{root}', right, material, folder, r, 'a test split without train')
    train_root = root / cased(r.choice(TRAIN), r)
    train = split_of(train_root, aside / 'train', names, r, 12 if len(names) == 1 else 5)
    if way == 'train' or way == 'unknown':
        if way == 'unknown':
            filled(root / 'tset', 3, r)
        right = source_right(train, None, names, 'tset' if way == 'unknown' else '')
        return reading(f'folder:{root}', right, material, folder, r, f'{train_root.name} {names}, {way}')
    return with_tests(root, train_root, train, names, material, folder, r)


def with_tests(
    root: Path,
    train_root: Path,
    train: dict[Path, str],
    names: list[str],
    material: Path,
    folder: Path,
    r: random.Random,
) -> Case:
    """Beside train one to three test splits: the first that has classes where train has them counts."""
    tests: dict[str, tuple[list[str], dict[Path, str]]] = {}
    for word in r.sample(TEST, r.choice((1, 1, 2, 3))):
        theirs = names if r.random() < 0.7 else r.choice(([], sorted(CLASSES[:2])))
        place = root / cased(word, r)
        tests[word] = theirs, split_of(place, folder / 'aside' / word, theirs, r, 3)
    if r.random() < 0.2:
        filled(root / 'extra', 3, r)  # left out where a test split is known
    ordered = [tests[word] for word in TEST if word in tests]
    theirs, test = next((t for t in ordered if bool(t[0]) == bool(names)), ordered[0])
    if len(names) > 1 and len(theirs) > 1 and names != theirs:
        right = Right(refused='different class folders')
    else:
        classes = sorted(set(names if len(names) > 1 else []) | set(theirs if len(theirs) > 1 else []))
        train_named, test_named = (n if classes and set(n) <= set(classes) else [] for n in (names, theirs))
        if names == theirs and len(names) == 1:
            train_named = test_named = []
        files = {str(f): c if c in train_named else '' for f, c in train.items()}
        files |= {str(f): c if c in test_named else '' for f, c in test.items()}
        right = Right(len(train), len(test), tuple(classes), files)
    return reading(
        f'folder:{root}', right, material, folder, r, f'{train_root.name} {names} and {sorted(tests)} {theirs}'
    )


def source_right(files: dict[Path, str], test: int | None, names: list[str], refused: str) -> Right:
    """What is right of images in classes; one class alone is no label."""
    many = len(names) > 1
    seen = {str(file): name if many else '' for file, name in files.items()}
    return Right(len(files), test, tuple(names) if many else (), seen, refused)


# Names.


def odd_data(material: Path, folder: Path, r: random.Random) -> Case:
    """Odd names of the folder, its classes and its files."""
    root = folder / r.choice(('set', odd_name(r)))
    names = sorted({odd_name(r, first=letter if r.random() < 0.3 else '') for letter in 'ab'} | {'plain'})
    files = {}
    for name in names:
        for number in range(6):
            stem = odd_name(r) if r.random() < 0.5 else 'x'
            file = image(root / name / f'{stem}{number}.png', r)
            files[file] = name
        (root / name / f'{odd_name(r)}.txt').write_text('text')
    return reading(
        f'folder:{root}', source_right(files, None, names, ''), material, folder, r, f'names {root.name!r} {names}'
    )


def odd_list(material: Path, folder: Path, r: random.Random) -> Case:
    """A CSV file of an odd name that lists odd names and labels."""
    place = folder / odd_name(r)
    labels = [r.choice(('cat', 'a b', 'ü', "'x", 'cat')) for _ in range(16)]
    labels[:2] = 'cat', 'ü'
    rows = [(image(place / f'{odd_name(r) if n % 5 == 0 else "x"}{n}.png', r), label) for n, label in enumerate(labels)]
    file = place / f'{odd_name(r)}.csv'
    with file.open('w', newline='', encoding='utf-8', errors='surrogateescape') as stream:
        csv.writer(stream).writerows([(f.name, label) for f, label in rows])
    # Spaces around a name are cut off, a carriage return is read as a line break, and a list is UTF-8.
    kept = all(f.name == f.name.strip() and not {'\r', '\udcff'} & set(f.name) for f, _ in rows)
    names = sorted({label for _, label in rows})
    right = Right(16, None, tuple(names), {str(f): label for f, label in rows})
    case = reading(f'list:{file}', right, material, folder, r, f'list {file.name!r}')
    return case if kept else case._replace(refused=None)  # a line of text cannot hold every name


def odd_npz(material: Path, folder: Path, r: random.Random) -> Case:
    """An npz file of an odd name."""
    file = folder / f'{odd_name(r)}.npz'
    shutil.copy(material / 'grey.npz', file)
    right = Right(96, None, ('0', '1', '2', '3'))
    return reading(f'npz:{file}', right, material, folder, r, f'npz {file.name!r}')


def odd_run(material: Path, folder: Path, r: random.Random) -> Case:
    """A finished run under an odd name, read or gone on with."""
    run = folder / OUT / odd_name(r)
    shutil.copytree(material / 'run', run)
    out = folder / OUT
    command = r.choice(('embed', 'embed', 'evaluate', 'select', 'train'))
    done = f'run {run.name!r}'
    if command == 'embed':
        file = out / f'{odd_name(r)}.npz'

        def check(printed: str) -> str:
            steps = sorted(int(p.name) for p in (run / 'checkpoints').iterdir() if p.name.isdigit())
            same = same_features(file, material / f'features_{steps[-1]}.npz')
            return '' if same else 'other features than under a plain name'

        return Case(command, [f'--workdir={run}', f'--out={file}'], done, check=check)
    if command == 'evaluate':
        file = out / f'{odd_name(r)}.json'
        line = [f'--workdir={run}', '--only=ranks', f'--out={file}']
        return Case(command, line, done, check=lambda said: '' if file.is_file() else f'{file.name!r} was not written')
    if command == 'select':
        return Case(command, [str(run), str(material / 'other'), '--by=rankme', '--alarm=off'], done)
    return Case('train', train_line(f'npz:{material}/grey.npz', run), done, None, real=True)


def odd_workdir(material: Path, folder: Path, r: random.Random) -> Case:
    """A run trained under an odd name must leave a checkpoint that is read again."""
    run = folder / OUT / odd_name(r)

    def check(printed: str) -> str:
        verdict, said = attempt('embed', [f'--workdir={run}', f'--out={folder}/{OUT}/f.npz'])
        return '' if verdict == 'ran' and (run / 'results.json').is_file() else f'cannot be read again: {said}'

    line = train_line(f'npz:{material}/grey.npz', run, 'data.batch_size=16', 'data.image_size=0')
    return Case('train', line, f'workdir {run.name!r}', check=check, real=True)


def odd_out(material: Path, folder: Path, r: random.Random) -> Case:
    """Odd names of what is written, and of a config file and a list of classes."""
    out = folder / OUT
    more = ('config file', 'convert') if 'train' in READERS else ()
    command = r.choice(('pack', 'pack classes', *more))
    if command == 'pack':
        name = odd_name(r)
        line = [f'--data=folder:{material}/images', f'--out={out}/{name}', '--short-side=8']
        return Case(
            'pack',
            line,
            f'out {name!r}',
            'UTF-8' if '\udcff' in name else '',  # array_record takes no other names
            check=lambda said: '' if (out / name / 'meta.json').is_file() else 'no meta.json',
        )
    if command == 'convert':
        name = odd_name(r) + r.choice(('', '.safetensors'))
        line = [f'--from={material}/encoder', f'--to={out}/{name}']
        return Case(
            'convert', line, f'to {name!r}', check=lambda said: '' if (out / name).exists() else 'nothing written'
        )
    if command == 'pack classes':
        names = sorted({odd_name(r), 'a b', 'plain', 'c'})
        files = {image(folder / 'set' / name / f'{n}.png', r): name for name in names for n in range(4)}
        kept = [name for name in names if r.random() < 0.7] or names[:1]
        listing = folder / f'{odd_name(r)}.txt'
        listing.write_text('\n'.join(kept) + '\n', encoding='utf-8', errors='surrogateescape', newline='')
        seen = {str(file): name for file, name in files.items() if name in kept}
        right = Right(len(seen), None, tuple(kept), seen)
        case = reading(f'folder:{folder}/set', right, material, folder, r, f'classes {kept}', command='pack')
        plain = all(len(name.splitlines()) == 1 and name == name.strip() for name in kept)
        return case._replace(line=[*case.line, f'--classes={listing}'], refused='' if plain else None)
    file = folder / f'{odd_name(r)}.py'
    for name, to in (('vicreg.py', file), ('common.py', folder / 'common.py')):
        shutil.copy(ROOT / 'experiments' / 'digits' / name, to)
    line = train_line(f'npz:{material}/grey.npz', out / 'run', config=str(file))
    return Case('train', line, f'config file {file.name!r}', check=lambda said: '')
