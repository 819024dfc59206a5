"""Data as people have them: arrays under other names, channels first, levels in another range, lists of other programs."""

import os

import numpy as np
import pytest
from PIL import Image
from selfsup import config
from selfsup.data import sources
from selfsup.data.pictures import CorruptImage, as_uint8, opened
from selfsup.data.sources.folder import split_names
from selfsup.engine import build
from selfsup.engine.run import Run
from selfsup.errors import UserError

X, Y = np.random.default_rng(0).integers(1, 256, (30, 8, 8, 1), np.uint8), np.arange(30) % 3
F = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
# Arrays of a file, its kind, the classes that are right, and what is said; or, of a refusal, None and its words.
NPZ = {
    'labels under another name': ({'images': X, 'targets': Y}, 'npz', (), 'targets is not read'),
    'a second test set': (
        {'train_images': X, 'train_labels': Y, 'val_images': X, 'val_labels': Y, 'test_images': X, 'test_labels': Y},
        'npz', ('0', '1', '2'), 'val_images, val_labels is not read',
    ),
    'labels of no test set': ({'images': X, 'labels': Y, 'y_test': Y}, 'npz', ('0', '1', '2'), 'y_test is not read'),
    'a class of the test alone': (
        {'images': X, 'labels': Y % 2, 'test_images': X[:9], 'test_labels': Y[:9]},
        'npz', ('0', '1', '2'), '3 of 9 test rows are of classes that are not in train (2)',
    ),
    'channels first, grey': ({'images': X.transpose(0, 3, 1, 2)}, 'npz', None, 'np.moveaxis(images, 1, -1)'),
    'channels first, colour': (
        {'images': np.repeat(X, 3, -1).transpose(0, 3, 1, 2)}, 'npz', None, 'would be 3 x 8 pixels of 8 channels',
    ),
    'no test images': ({'images': X, 'test_images': X[:0]}, 'npz', None, 'holds no images; leave the array out'),
    '8 bits in 16': ({'images': X.astype('u2')}, 'npz', None, 'to 255 (uint16) would all become 0 of 8 bits'),
    'divided twice': ({'images': X / 255 / 1000}, 'npz', None, 'would all become 0 of 8 bits'),
    'labels as text': ({'images': X, 'labels': np.array(list('abc'))[Y]}, 'npz', None, 'np.unique(labels, return_inv'),
    'labels as floats': ({'images': X, 'labels': Y / 1}, 'npz', None, 'labels.astype(int), where they are whole'),
    'one-hot labels': ({'images': X, 'labels': np.eye(3, dtype=int)[Y]}, 'npz', None, 'labels.argmax(1)'),
    'names as bytes': (
        {'train_features': F, 'train_labels': Y, 'class_names': np.array([b'a', b'b', b'c'])},
        'features', ('a', 'b', 'c'), '',
    ),
    'names without labels': ({'train_features': F, 'class_names': np.array([b'a'])}, 'features', (), ''),
    'names as one text': (
        {'train_features': F, 'train_labels': Y, 'class_names': np.array('a')}, 'features', None, 'labels reach to 2',
    ),
    'features of one part': ({'features': F, 'labels': Y}, 'features', None, 'call features and labels so'),
    'features and others': ({'train_features': F, 'y': Y}, 'features', (), 'y is not read'),
}  # fmt: skip


@pytest.mark.parametrize('arrays, kind, classes, said', NPZ.values(), ids=NPZ.keys())
def test_arrays_that_people_have(arrays, kind, classes, said, tmp_path):
    np.savez(tmp_path / 'set.npz', **arrays)
    if classes is None:
        with pytest.raises(UserError) as refused:
            sources.open_source(f'{kind}:{tmp_path}/set.npz')
        assert said in str(refused.value) and 'set.npz' in str(refused.value)
        return
    train, _ = sources.open_source(f'{kind}:{tmp_path}/set.npz')
    assert train.class_names == classes and bool(train.notes) == bool(said)
    assert said in ' '.join(train.notes)


def test_floats_may_go_a_rounding_error_beyond():
    values = np.array([[-5e-4, 0.0, 0.5, 1.0, 1.0005]])
    np.testing.assert_array_equal(as_uint8(values, 'x'), [[0, 0, 128, 255, 255]])
    with pytest.raises(UserError, match=r'reach from 0 to 1.0011'):
        as_uint8(np.array([[0, 1.0011]]), 'x')


LIST = [(f'{i}.png', 'dog' if i % 2 else 'cat') for i in range(12)]


def lines(*columns, head='', form='{},{}'):
    return head + ''.join(f'{form}\n'.format(*row, *(c[i % len(c)] for c in columns)) for i, row in enumerate(LIST))


CATS = ('cat', 'dog')
LISTS = {
    'spaces after commas': ('csv', lines(form='"{}", "{}"'), CATS, ''),
    'a class called file': ('csv', lines(['file', 'url'], form='{0},{2}'), ('file', 'url'), ''),
    'columns of tabs with names': ('tsv', lines(head='path\tlabel\n', form='{}\t{}'), CATS, ''),
    'from the home': ('csv', lines(form='~/{},{}'), CATS, ''),
    'too many columns': ('csv', lines(['test'], ['x'], form='{},{},{},{}'), None, '4 columns where 3 are known'),
    'numbers of many digits': (
        'csv', lines(['9' * 5000, '10'], form='{0},{2}'), ('10', '9' * 5000), '',
    ),
    'a column of another name': ('csv', lines(head='path,class\n'), (), "columns 'class' are not read"),
    'splits of another name': (
        'csv', lines(['test', 'train', 'train'], head='path,label,fold\n', form='{},{},{}'), None,
        "its column 'fold' holds names of splits; call it split",
    ),
    'two columns of labels': ('csv', lines(['x'], head='path,label,label\n', form='{},{},{}'), None, 'label 2 times'),
    'no number': ('csv', lines(['nan', 'cat', 'dog'], form='{0},{2}'), ('cat', 'dog', 'nan'), "4 rows have the label 'n"),
    'case': ('csv', lines(['cat', 'Cat'], form='{0},{2}'), ('Cat', 'cat'), "'Cat' and 'cat' are two classes"),
    'an address': ('csv', lines(form='https://x.y/{},{}'), None, 'it is an address'),
    'backslashes': ('csv', lines(form='a\\{},{}'), None, 'folders are parted by /'),
    'JSON': ('json', '[{"path": "0.png"}]', None, 'a list is CSV, or text'),
    'a zero byte': ('csv', lines(form='{}\0,{}'), None, r'0.png\x00'),
}  # fmt: skip


@pytest.mark.parametrize('ending, text, classes, said', LISTS.values(), ids=LISTS.keys())
def test_lists_that_people_have(ending, text, classes, said, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    for i, (name, _) in enumerate(LIST):
        Image.new('L', (8, 8), i).save(tmp_path / name)
    listing = tmp_path / f'list.{ending}'
    listing.write_text(text)
    if classes is None:
        with pytest.raises(UserError) as refused:
            sources.open_source(f'list:{listing}')
        assert said in str(refused.value) and str(listing) in str(refused.value)
        return
    train, test = sources.open_source(f'list:{listing}')
    assert len(train) + len(test) == 12 and train.class_names == classes
    assert said in ' '.join(train.notes) and bool(train.notes) == bool(said)


@pytest.mark.parametrize(
    'names, pair',
    [
        (('train2017', 'val2017', 'annotations'), ('train2017', 'val2017')),
        (('test_set', 'single_prediction', 'training_set'), ('training_set', 'test_set')),
        (('seg_train', 'seg_test', 'seg_pred'), ('seg_train', 'seg_test')),
        (('trainA', 'trainB', 'testA', 'testB'), ('trainA', 'testA')),
        (('images_Train', 'images_Val'), ('images_Train', 'images_Val')),
        (('trains', 'Test set', 'cat'), None),
        (('bullet train', 'test tube'), None),
        (('train_', 'val_'), None),
        (('training_set', 'cat'), None),
        (('validation_train',), None),
    ],
)
def test_names_that_look_like_splits(names, pair, tmp_path):
    assert split_names(names) == pair
    for at, name in enumerate(names):
        for i in range(8):
            file = tmp_path / 'set' / 'deep' / name / f'{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (8, 8), 8 * at + i).save(file)
    for root in ('set', 'set/deep'):
        if pair:
            with pytest.raises(UserError, match=f'deep holds {pair[0]} and {pair[1]}, which look like splits'):
                sources.open_source(f'folder:{tmp_path / root}')
        else:
            sources.open_source(f'folder:{tmp_path / root}')


def test_hard_links_in_both_splits_are_one_file(tmp_path):
    for part in ('train', 'test'):
        for number in range(16):
            file = tmp_path / part / 'ab'[number % 2] / f'{number}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (8, 8), number).save(file)
    sources.open_source(f'folder:{tmp_path}')
    os.mkfifo(tmp_path / 'train' / 'a' / 'pipe.png')
    assert '1 no file but a pipe' in sources.open_source(f'folder:{tmp_path}')[0].notes[0]
    os.link(tmp_path / 'train' / 'a' / '0.png', tmp_path / 'test' / 'a' / 'other.png')
    with pytest.raises(UserError, match=r'1 files are in .*train/a/0.png for one; a test image is never trained on'):
        sources.open_source(f'folder:{tmp_path}')


@pytest.mark.parametrize(
    'content, said',
    [
        (b'', 'it is empty'),
        (bytes(100), 'its bytes are all zero'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'it is a pointer of Git LFS; git lfs pull'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n', 'it is a PostScript file'),
    ],
)
def test_what_is_no_image_is_said(content, said, tmp_path):
    (tmp_path / 'x.png').write_bytes(content)
    for what in (tmp_path / 'x.png', content):
        with pytest.raises(CorruptImage, match=f'x.png is no image that can be decoded: {said}'):
            opened(what, 'x.png')


@pytest.mark.parametrize(
    'given, meant', [('set.npz', 'npz:'), ('list.csv', 'list:'), ('folder', 'folder:'), ('cifar10', 'tfds:')]
)
def test_a_source_without_its_kind(given, meant, tmp_path):
    (tmp_path / 'folder').mkdir()
    for name in ('set.npz', 'list.csv'):
        (tmp_path / name).touch()
    spec = given if meant == 'tfds:' else str(tmp_path / given)
    with pytest.raises(UserError, match=f'did you mean {meant}{spec}?'):
        sources.open_source(spec)


@pytest.mark.parametrize('field, value', [('background', 'white'), ('orientation', 'exif')])
def test_what_is_done_to_images_is_refused_for_vectors(field, value):
    with pytest.raises(UserError, match=f'data.{field}={value} is of images, and vectors:iris.* holds .* set it to'):
        build.open_data(
            config.load('experiments/vectors/simclr.py', ['data.source=vectors:iris', f'data.{field}={value}'])
        )


@pytest.mark.parametrize('method', ['simclr', 'unsee'])
def test_an_encoder_of_vectors_is_refused_for_images(method, own_checks):
    with pytest.raises(UserError, match=r"model.name='mlp' cannot be built: .* are \[12, 12, 256\], not \[dim\]"):
        Run(config.load(f'experiments/digits/{method}.py', ['model.name=mlp']), devices=1)
