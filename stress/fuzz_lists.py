"""Lists of image files as people and their programs write them, and features under odd names."""

import csv
import io
import random
import shutil
from pathlib import Path

from fuzz_cases import OUT, Case, Right, reading
from fuzz_folders import image, odd_name

WRONG = ('fold', 'separator', 'missing', 'twice', 'split', 'UTF-16', 'columns', 'only tests', 'empty')
REFUSALS = {
    'separator': 'there is no file', 'missing': 'there is no file', 'twice': 'already', 'UTF-16': 'no UTF-8 text',
    'split': 'neither train nor test', 'columns': 'columns where', 'only tests': 'test images alone',
    'empty': 'names no images', 'fold': 'call it split',
}  # fmt: skip
LABELS = (
    ('cat', 'dog', 'owl'), ('0', '1', '2'), ('10', '9', '100'), ('1.0', '0.0'), ('True', 'False'), ('-5', '-4'),
    ('a b', 'ü', '"q"'), ('nan', 'NaN'), ('cat',), ('',), ('-1',), ('cat', 'dog', ''), ('3', '-1', '4'),
)  # fmt: skip


def written(rows: list[dict[str, str]], order: list[str], r: random.Random, comma: str, *, header: bool) -> str:
    """The rows as a program would write them: quotes, line ends, a mark at the front, empty lines, spaces."""
    stream = io.StringIO()
    if comma == '\t':
        lines = ['\t'.join(row.get(name, '') for name in order) for row in rows]
        lines = (['\t'.join(order)] if header else []) + lines
        stream.write('\n'.join(lines) + '\n' * r.randint(0, 2))
    else:
        quoting = r.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        writer = csv.writer(stream, delimiter=comma, quoting=quoting, lineterminator=r.choice(('\n', '\r\n')))
        if header:
            alias = r.choice(('path', 'Path', 'file', 'FILENAME', 'image'))
            writer.writerow([alias if name == 'path' else name.title() for name in order])
        writer.writerows([[row.get(name, '') for name in order] for row in rows])
        stream.write(r.choice(('', '\n', '\r\n', ',,\n' if comma == ',' and len(order) > 2 else '')))
    return r.choice(('', '', '\ufeff')) + stream.getvalue()


def lists(material: Path, folder: Path, r: random.Random) -> Case:
    """A list of files in CSV or text, right or with one thing wrong."""
    place, words = folder / 'set', r.choice(LABELS)
    ending = r.choice(('.csv', '.csv', '.CSV', '.txt', '.tsv', ''))
    comma = ',' if ending.lower() == '.csv' else '\t'
    wrong = r.choice(WRONG) if r.random() < 0.3 else ''
    tests = wrong != 'fold' and (r.random() < 0.4 or wrong == 'only tests')
    rows: list[dict[str, str]] = []
    for number in range(24):
        file = image(place / r.choice(('', 'deep', 'a b')) / f'{number}{r.choice((".png", ".jpg", ".tif"))}', r)
        path = r.choice((str(file.relative_to(place)), str(file), f'./{file.relative_to(place)}'))
        row = {'path': path, 'label': words[number % len(words)], 'note': 'x', 'file': str(file)}
        row['fold'] = 'test' if number % 4 == 0 else 'train'
        if tests:
            row['split'] = r.choice(('test', 'VAL', 'dev')) if number % 4 == 0 else r.choice(('train', 'Training', ''))
        rows.append(row)
    order = ['path', 'label', *(['split'] if tests or r.random() < 0.3 else [])]
    header = wrong == 'fold' or (r.random() < 0.5 and wrong not in ('separator', 'columns', 'empty'))
    order = ['path', 'label', 'fold'] if wrong == 'fold' else order
    if header:
        order += ['note'] if r.random() < 0.3 else []
        r.shuffle(order)
    elif words == ('',) and not tests:
        order = ['path']
    spoil(rows, order, wrong, r)
    text = '\n \n' if wrong == 'empty' else written(
        rows, order, r, {',': r.choice(';\t'), '\t': ','}[comma] if wrong == 'separator' else comma, header=header
    )  # fmt: skip
    listing = place / f'list{ending}'
    listing.write_bytes(text.encode('utf-16' if wrong == 'UTF-16' else 'utf-8'))
    right = right_of(rows) if not wrong else Right(refused=REFUSALS[wrong])
    # A single column has no separator, and in a text with tabs a path in quotes is another path.
    odd = wrong == 'separator' and len(order) == 1
    case = reading(f'list:{listing}', right, material, folder, r, f'list{ending} {words} {order} {wrong}')
    return case._replace(refused=None) if odd else case


def spoil(rows: list[dict[str, str]], order: list[str], wrong: str, r: random.Random) -> None:
    """Puts one thing wrong into the rows, or another name into the order of the columns."""
    row = r.choice(rows)
    if wrong == 'missing':
        row['path'] = r.choice(('', 'gone.png', 'deep', '/nowhere/x.png', 'a' * 200))
    if wrong == 'twice':
        row['path'] = next(other['file'] for other in rows if other is not row)
    if wrong == 'split':
        order += [] if 'split' in order else ['split']
        row['split'] = r.choice(('tset', '0', 'unlabelled'))
    if wrong == 'columns':
        order[:] = ['path', 'label', 'split', 'note']
    if wrong == 'only tests':
        for row in rows:
            row['split'] = 'test'


def right_of(rows: list[dict[str, str]]) -> Right:
    """What a list holds by docs/data.md: no label for '' and -1, one class alone is none, numbers in their order."""
    known = {row['label'] for row in rows} - {'', '-1'}
    classes = sorted(known, key=int) if all(name.isdecimal() for name in known) else sorted(known)
    classes = classes if len(classes) > 1 else []
    held = [row for row in rows if row.get('split', '').lower() in ('test', 'val', 'dev')]
    files = {row['file']: row['label'] if row['label'] in classes else '' for row in rows}
    return Right(len(rows) - len(held), len(held) or None, tuple(classes), files)


def odd_features(material: Path, folder: Path, r: random.Random) -> Case:
    """Files of features under odd names, given as two words, or as one file."""
    out = folder / OUT
    if r.random() < 0.5:
        found = [folder / f'{odd_name(r)}{number}.npz' for number in range(2)]
        for part, file in zip(('train', 'test'), found, strict=True):
            shutil.copy(material / f'{part}.npz', file)
    else:
        found = [folder / f'{odd_name(r)}.npz']
        shutil.copy(material / 'embedded.npz', found[0])
    line = [
        f'--features={found[0]}',
        *(f'--features={file}' for file in found[1:]),
        '--only=ranks',
        f'--out={out}/a.json',
    ]
    wrote = lambda said: '' if (out / 'a.json').is_file() else 'nothing was written'  # noqa: E731
    return Case('evaluate', line, f'features {[file.name for file in found]}', check=wrote)
