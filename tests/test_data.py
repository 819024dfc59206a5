"""Sources, splits, order and feeds, on data made here."""

import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from selfsup import parallel
from selfsup.data import loader, readers, sampler, sources
from selfsup.errors import UserError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog'):
        (tmp_path / name).mkdir()
        for i in range(10):
            Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).save(tmp_path / name / f'{i}.png')
    return tmp_path


def test_digits_are_stratified():
    train, test = sources.open_source('digits')
    assert len(train) + len(test) == 1797
    counts = np.bincount(test.labels)
    assert counts.min() >= 34 and counts.max() <= 37
    assert train[0]['input'].shape == (8, 8, 1) and train[0]['input'].dtype == np.uint8
    assert train.images().max() == 255


def test_folder_with_classes(folder):
    train, test = sources.open_source(f'folder:{folder}')
    assert train.class_names == ('cat', 'dog') and len(train) == 16 and len(test) == 4
    assert np.bincount(test.labels).tolist() == [2, 2]
    again, _ = sources.open_source(f'folder:{folder}')
    assert again.fingerprint == train.fingerprint
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / 'cat' / 'new.png')
    changed, _ = sources.open_source(f'folder:{folder}')
    assert changed.fingerprint != train.fingerprint


def test_folder_with_splits(folder, tmp_path):
    root = tmp_path / 'set'
    for name in ('cat', 'dog'):
        shutil.copytree(folder / name, root / 'train' / name)
        (root / 'val').mkdir(exist_ok=True)
        (root / 'val' / name).symlink_to(folder / name)
    train, test = sources.open_source(f'folder:{root}')
    assert len(train) == len(test) == 20
    (root / 'val' / 'cat').unlink()
    with pytest.raises(UserError, match='different class folders: cat'):
        sources.open_source(f'folder:{root}')


def test_flat_folder_has_no_labels(folder):
    train, _ = sources.open_source(f'folder:{folder / "cat"}')
    assert (train.labels == -1).all() and train.num_classes == 0


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return f'npz:{path}'


def test_npz(tmp_path):
    x, y = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4), np.arange(40) % 4
    train, test = sources.open_source(write_npz(tmp_path / 'a.npz', images=x, labels=y))
    assert len(train) == 32 and len(test) == 8
    whole = write_npz(tmp_path / 'b.npz', x_train=x, y_train=y[:, None], x_test=x[:8], y_test=y[:8])
    train, test = sources.open_source(whole)
    assert len(train) == 40 and len(test) == 8 and train.images().shape == (40, 4, 4, 1)


def test_tfds_reads_without_tensorflow(cifar10):
    train, test = sources.open_source('tfds:cifar10', data_dir=cifar10)
    assert 'tensorflow' not in sys.modules
    assert (len(train), len(test)) == (50000, 10000) and train.class_names[3] == 'cat'
    few = sources.first_of_each_class(train, 2)
    assert few.images().shape == (20, 32, 32, 3) and np.bincount(few.labels).tolist() == [2] * 10


def test_split_and_selection_are_disjoint_and_fingerprinted():
    train, _ = sources.open_source('digits')
    first, second = sources.split(train, 0.1, seed=1, parts=('a', 'b'))
    assert len(first) + len(second) == len(train)
    assert first.fingerprint != second.fingerprint
    again, _ = sources.split(train, 0.1, seed=1, parts=('a', 'b'))
    assert again.fingerprint == first.fingerprint
    keys = {image.tobytes() for image in first.images()}
    assert sum(image.tobytes() in keys for image in second.images()) < 3  # a few digits are true duplicates


def test_fitted_brings_images_to_one_shape(tmp_path):
    for i, shape in enumerate([(10, 20, 3), (30, 12, 3), (9, 9, 3), (8, 50, 3), (64, 64, 3)]):
        Image.fromarray(np.full(shape, 40 * i, np.uint8)).save(tmp_path / f'{i}.png')
    Image.fromarray(np.zeros((7, 7), np.uint8)).save(tmp_path / 'grey.png')
    train, _ = sources.open_source(f'folder:{tmp_path}')
    with pytest.raises(UserError, match=r'mixes image shapes.*set data.image_size'):
        train.images()
    assert sources.fitted(train, image_size=8, channels=3).images().shape == (len(train), 8, 8, 3)
    assert sources.fitted(train, image_size=8, channels=1, pad=2).images().shape == (len(train), 12, 12, 1)


BAD = {
    'kind': ('nothing', "data.source='nothing' is unknown"),
    'near': ('digit', 'did you mean digits'),
    'no folder': ('folder:/does/not/exist', 'there is no such folder'),
    'no file': ('npz:/does/not/exist.npz', 'there is no such file'),
    'tfds': ('tfds:cifar11', 'tfds:cifar11 is unknown; did you mean cifar10'),
}


@pytest.mark.parametrize('spec, message', BAD.values(), ids=BAD.keys())
def test_bad_sources(spec, message):
    with pytest.raises(UserError, match=message):
        sources.open_source(spec)


X = np.zeros((10, 4, 4), np.uint8)
BAD_NPZ = {
    'names': ({'pictures': X}, 'holds pictures; it needs train_images'),
    'empty': ({'images': X[:0]}, 'holds no images'),
    'scalar': ({'images': X[0, 0, 0]}, r'images must be of shape .* not uint8 \[\]'),
    'floats': ({'images': X - 300.0}, 'images of floats must lie in .0, 1., and these reach from -300 to -300'),
    'signed': ({'images': X.astype(int)}, 'images must be uint8, uint16 or floats in .0, 1., not int64'),
    'labels': ({'images': X, 'labels': np.zeros(9, int)}, r'10 images and labels of shape \[9\] do not match'),
    'label type': ({'images': X, 'labels': np.zeros(10)}, 'labels must be integers'),
    'objects': ({'images': np.array([{}, []], object)}, 'no readable npz file of plain arrays'),
}


@pytest.mark.parametrize('arrays, message', BAD_NPZ.values(), ids=BAD_NPZ.keys())
def test_bad_npz(arrays, message, tmp_path):
    with pytest.raises(UserError, match=message):
        sources.open_source(write_npz(tmp_path / 'a.npz', **arrays))


def test_bad_files(folder):
    (folder / 'cat' / '0.png').write_text('no image')
    train, test = sources.open_source(f'folder:{folder}')
    with pytest.raises(
        UserError, match=r'0\.png is no image that can be decoded.*; data.on_corrupt=skip leaves such images out'
    ):
        train.images(), test.images()
    whole = (folder / 'cat' / '1.png').read_bytes()
    (folder / 'cat' / '1.png').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r'1\.png is no image that can be decoded'):
        readers.read_image(folder / 'cat' / '1.png')
    (folder / 'empty').mkdir()
    with pytest.raises(UserError, match='holds no images'):
        sources.open_source(f'folder:{folder / "empty"}')


def test_order_is_a_permutation_of_seed_and_epoch():
    first = sampler.epoch_order(0, 0, 1000)
    assert sorted(first) == list(range(1000))
    np.testing.assert_array_equal(first, sampler.epoch_order(0, 0, 1000))
    for seed, epoch in ((0, 1), (1, 0)):
        assert (first != sampler.epoch_order(seed, epoch, 1000)).mean() > 0.9
    # The stream is guaranteed by NumPy, so these numbers hold on every machine and version.
    np.testing.assert_array_equal(sampler.epoch_order(7, 3, 8), np.argsort(np.random.Philox(key=[7, 3]).random_raw(8)))


def test_batches_drop_the_remainder_and_cover_an_epoch():
    rows = sampler.batch_indices(0, 0, 6, 10, 3)  # three batches an epoch, one example dropped
    assert rows.shape == (6, 3)
    assert len(set(rows[:3].ravel())) == 9
    np.testing.assert_array_equal(rows[4:], sampler.batch_indices(0, 4, 2, 10, 3))


def test_feeds_refuse_impossible_batches():
    source, _ = sources.open_source('digits')
    with pytest.raises(UserError, match=r'batch_size=2000 is larger than the 1438 examples'):
        loader.make_feed('auto', source, seed=0, batch_size=2000, mesh=parallel.data_mesh(1))
    with pytest.raises(UserError, match='batch_size=30 must be a multiple of the 8 devices'):
        loader.make_feed('auto', source, seed=0, batch_size=30, mesh=parallel.data_mesh(8))
