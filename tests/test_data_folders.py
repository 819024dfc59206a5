"""Folders of images are read by the rules of docs/data.md, whose table is built here row by row; lists of files."""

import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selfsup.data import sources
from selfsup.data.sources import folder
from selfsup.errors import UserError

PAGE = (Path(__file__).parent.parent / 'docs' / 'data.md').read_text()


def table(first):
    """The rows of the page's table whose first heading is `first`."""
    lines = PAGE[PAGE.index(f'| {first} |') :].split('\n\n')[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


TREES = table('below the folder')
PNG = io.BytesIO()
Image.fromarray(np.zeros((2, 2), np.uint8)).save(PNG, 'PNG')


def build(root, text):
    number = itertools.count()
    for count, path in re.findall(r'(\d+) (\S+?)(?:,|$)', text):
        for _ in range(int(count)):
            file = root / path.replace('*', str(next(number)))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(PNG.getvalue())


@pytest.mark.parametrize('tree, train, test, classes, said', TREES, ids=[row[0][:60] for row in TREES])
def test_the_table_of_rules(tree, train, test, classes, said, tmp_path):
    root = tmp_path / 'set'
    build(root, tree)
    if said.startswith('refused: '):
        with pytest.raises(UserError) as error:
            sources.open_source(f'folder:{root}')
        for part in said.removeprefix('refused: ').split(', '):
            assert part in str(error.value)
        return
    first, second = sources.open_source(f'folder:{root}')
    assert (len(first), len(second), ' '.join(first.class_names)) == (int(train), int(test), classes)
    assert bool(classes) == (first.labels >= 0).all() == (first.labels >= 0).any()
    notes = ' '.join((*first.notes, *second.notes))
    assert all(part in notes for part in said.split(', ')) if said else not notes


def test_the_tables_of_names_are_those_of_the_code():
    names = {row[0]: tuple(re.findall(r'`([^`]+)`', row[1])) for row in table('what')}
    assert tuple(names.values()) == (folder.TRAIN, folder.TEST, tuple(sorted(folder.SUFFIXES)))
    kinds = [re.match(r'`(\w+)', row[0])[1] for row in table('`data.source`')]
    assert sorted(kinds) == sorted(sources.KINDS)


def test_links_are_followed_but_not_in_circles(tmp_path):
    build(tmp_path, '6 elsewhere/*.png, 6 set/a/*.png, 6 set/b/*.png')
    root = tmp_path / 'set'
    (root / 'a' / 'more').symlink_to(tmp_path / 'elsewhere')
    (root / 'b' / 'round').symlink_to(root)
    (root / 'b' / 'gone.png').symlink_to('/nowhere.png')
    (root / 'b' / 'x.png').mkdir()
    train, test = sources.open_source(f'folder:{root}')
    assert np.bincount(np.concatenate([train.labels, test.labels])).tolist() == [12, 6]
    assert '1 broken link' in train.notes[0] and '1 link to a folder around it' in train.notes[0]
    (root / 'a' / 'again').symlink_to(root / 'b')
    assert '6 of 24 files are reached twice' in sources.open_source(f'folder:{root}')[0].notes[1]


def test_a_file_in_both_splits_is_refused(tmp_path):
    build(tmp_path, '6 train/a/*.png, 6 train/b/*.png, 2 test/a/*.png, 2 test/b/*.png')
    (tmp_path / 'test' / 'a' / 'leak.png').symlink_to(next((tmp_path / 'train' / 'a').iterdir()))
    with pytest.raises(UserError, match='1 files are in .*train and in .*test'):
        sources.open_source(f'folder:{tmp_path}')


LISTS = {
    'paths': ('a.txt', '{0}\n{1}\n{2}\n{3}\n', (3, 1), ()),
    'labels': ('a.txt', '{0}\t10\n{1}\t10\n{2}\t9\n{3}\t9\n', (2, 2), ('9', '10')),
    'words and splits': ('a.csv', '{0},dog,train\n{1},cat,train\n{2},,train\n{3},cat,val\n', (3, 1), ('cat', 'dog')),
    'mark of a spreadsheet': ('a.csv', '\ufeffpath,label\r\n{0},a\r\n{1},a\r\n{2},b\r\n{3},b\r\n', (2, 2), ('a', 'b')),
    'quoted': ('a.csv', '"{0}","a\nb"\n{1},"a\nb"\n{2},c\n{3},c\n', (2, 2), ('a\nb', 'c')),
    'header': ('a.csv', 'label,other,path\ncat,1,{0}\ncat,2,{1}\ndog,3,{2}\ndog,4,{3}\n', (2, 2), ('cat', 'dog')),
}  # fmt: skip


@pytest.mark.parametrize('name, text, counts, classes', LISTS.values(), ids=LISTS.keys())
def test_lists_of_files(name, text, counts, classes, tmp_path):
    build(tmp_path, '4 images/*.png')
    files = [f'images/{i}.png' for i in range(4)]
    (tmp_path / name).write_text(text.format(*files))
    train, test = sources.open_source(f'list:{tmp_path / name}')
    assert (len(train), len(test)) == counts and train.class_names == classes
    assert train.images().shape == (counts[0], 2, 2, 1)
    if name == 'a.csv' and 'val' in text:
        assert train.labels.tolist() == [1, 0, -1] and test.labels.tolist() == [0]


BAD_LISTS = {
    'missing': ('a.txt', 'images/0.png\nimages/9.png\n', r'line 2: there is no file .images/9.png.; a label stands behind'),
    'twice': ('a.txt', 'images/0.png\nimages/../images/0.png\n', 'stands in line 1 already'),
    'split': ('a.csv', 'images/0.png,cat,perhaps\n', "the split 'perhaps' is neither train nor test"),
    'columns': ('a.csv', 'images/0.png,cat,train,7\n', '4 columns where 3 are known'),
    'test alone': ('a.csv', 'images/0.png,cat,test\n', 'names test images alone'),
    'empty': ('a.txt', '\n', 'names no images'),
    'no CSV': ('a.csv', 'images/0.png,' + 'x' * 200_000, 'is no CSV: field larger than'),
    'line after a cell of two': ('a.csv', 'images/0.png,"two\nlines"\nimages/9.png,b\n', 'line 3: there is no file'),
}  # fmt: skip


@pytest.mark.parametrize('name, text, message', BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_bad_lists(name, text, message, tmp_path):
    build(tmp_path, '4 images/*.png')
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        sources.open_source(f'list:{tmp_path / name}')


def test_names_that_are_no_utf8(tmp_path):
    build(tmp_path, '4 \udcff[/*.png, 4 b/*\udcfe.png')
    train, test = sources.open_source(f'folder:{tmp_path}')
    assert (len(train), len(test), set(train.class_names)) == (6, 2, {'\udcff[', 'b'})
    assert train.fingerprint != sources.open_source(f'folder:{tmp_path}', test_fraction=0.5)[0].fingerprint
