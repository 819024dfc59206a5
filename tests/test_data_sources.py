"""Pixels of every depth, rows of every rank, labels with gaps, TFDS splits by name, and what is said before training."""

import pickle
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import sklearn.datasets
import sklearn.preprocessing
import tolerances
from PIL import Image
from selfsup import pack, parallel
from selfsup.config import defaults, with_overrides
from selfsup.data import loader, pictures, readers, sources, workers
from selfsup.data.sources import arrays, features, tfds
from selfsup.engine import build, report
from selfsup.errors import UserError

RAMP = np.linspace(0, 1, 256)[None].repeat(4, 0)
EIGHT = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
DEPTHS = {
    'grey8.png': (EIGHT, EIGHT),
    'grey16.png': ((RAMP * 65535).astype(np.uint16), EIGHT),
    'grey16.tif': ((RAMP * 65535).astype(np.uint16), EIGHT),
    'grey16.pgm': ((RAMP * 65535).astype(np.uint16), EIGHT),
    'float.tif': (RAMP.astype(np.float32), EIGHT),
}


@pytest.mark.parametrize('name', DEPTHS)
def test_every_depth_keeps_its_levels(name, tmp_path):
    stored, expected = DEPTHS[name]
    Image.fromarray(stored).save(tmp_path / name)
    np.testing.assert_array_equal(readers.read_image(tmp_path / name)[..., 0], expected)
    with pictures.opened(tmp_path / name, name) as picture:
        colour = pictures.as_array(pictures.decoded(picture, name, 3))
    np.testing.assert_array_equal(colour, expected[..., None].repeat(3, -1))


UNKNOWN = {
    'int32.tif': ((RAMP * 65535).astype(np.int32), r'int32\.tif holds 32-bit integers \(mode I, 0 \.\.\. 65535\)'),
    'wide.tif': ((255 * RAMP).astype(np.float32), r'wide\.tif \(mode F\).* from 0 to 255'),
    'nan.tif': (np.full((4, 4), np.nan, np.float32), r'nan\.tif .* from nan to nan'),
}


@pytest.mark.parametrize('name', UNKNOWN)
def test_values_of_unknown_range_are_refused(name, tmp_path):
    stored, message = UNKNOWN[name]
    Image.fromarray(stored).save(tmp_path / name)
    with pytest.raises(UserError, match=message):
        readers.read_image(tmp_path / name)


def write(tmp_path, kind='npz', **arrays):
    np.savez(tmp_path / 'a.npz', **arrays)
    return f'{kind}:{tmp_path / "a.npz"}'


@pytest.mark.parametrize('scale, kind', [(257, np.uint16), (257, '>u2'), (1 / 255, np.float32), (1 / 255, np.float64)])
def test_npz_of_other_types_becomes_uint8(scale, kind, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 5), np.uint8)
    train, _ = sources.open_source(write(tmp_path, x_train=(images.astype(float) * scale).astype(kind), x_test=images))
    np.testing.assert_array_equal(train.images()[..., 0], images)
    assert f'{np.dtype(kind).name} images are scaled to 8 bits' in train.notes[0]


def picture_with(tmp_path):
    """Black line art whose shape lies in alpha, and a photograph lying on its side."""
    art = np.zeros((8, 8, 4), np.uint8)
    art[2:6, 2:6, 3] = 255
    Image.fromarray(art).save(tmp_path / 'art.png')
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    side = np.zeros((16, 32, 3), np.uint8)
    side[:, :16] = 255  # the left half, which is the upper half of the upright image
    Image.fromarray(side).save(tmp_path / 'phone.jpg', exif=exif, quality=95)


def test_alpha_and_orientation(tmp_path):
    picture_with(tmp_path)
    paths = [tmp_path / 'art.png', tmp_path / 'phone.jpg']
    source = sources.Source('two', readers.Files(paths), np.array([-1, -1]), (), 'f')
    seen = {}
    for background in ('none', 'white', 'black'):
        for orientation in ('stored', 'exif'):
            part = sources.treated(source, sources.Treatment(background, orientation))
            art, phone = part[0]['input'], part[1]['input']
            shape = (32, 16, 3) if orientation == 'exif' else (16, 32, 3)
            with part.reader.picture(1) as picture:
                assert phone.shape == shape and picture.size == (shape[1], shape[0])
            seen[background, orientation] = part.fingerprint
            assert np.unique(art).tolist() == ([0, 255] if background == 'white' else [0])
            if background == 'white':
                assert (art[2:6, 2:6] == 0).all() and (art[:2] == 255).all()
            if orientation == 'exif':
                assert phone[:12].min() > 240 and phone[20:].max() < 15
    assert len(set(seen.values())) == 6 and seen['none', 'stored'] == source.fingerprint


def test_channels_other_than_grey_and_colour(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 4), np.uint8)
    source, _ = sources.open_source(write(tmp_path, images=images))
    for channels in (1, 3):
        with pytest.raises(
            UserError, match=rf'npz:.* data.channels={channels} converts images of 1 or 3 .* these have 4'
        ):
            sources.fitted(source, channels=channels).images()
    small = sources.fitted(source, image_size=3).images()
    for c in range(4):  # none is taken for alpha
        alone = sources.from_arrays('c', source.images()[..., c], None)
        np.testing.assert_array_equal(small[..., c], sources.fitted(alone, image_size=3).images()[..., 0])
    with pytest.raises(UserError, match='needs 1 or 3 channels'):
        source.reader.picture(0)


def test_labels_with_gaps_are_renumbered_over_both_parts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
    labels = np.array([7_000_000_000, 5, 5, -1] * 3)
    spec = write(tmp_path, x_train=images, y_train=labels, x_test=images[:2], y_test=np.array([900, 5]))
    train, test = sources.open_source(spec)
    assert train.class_names == test.class_names == ('5', '900', '7000000000')
    assert train.labels.tolist() == [2, 0, 0, -1] * 3 and test.labels.tolist() == [1, 0]
    with pytest.raises(UserError, match='reach down to -3'):
        sources.from_arrays('a', images, np.full(12, -3))
    large = sources.from_arrays('a', images, 2**63 + np.arange(12, dtype=np.uint64) % 2)
    assert large.class_names == (str(2**63), str(2**63 + 1)) and large.labels.tolist() == [0, 1] * 6
    near = 2**60 + np.arange(12, dtype=np.uint64) % 3  # one number in float64
    spec = write(tmp_path, x_train=images, y_train=near, x_test=images[:2], y_test=np.array([-1, 5]))
    assert sources.open_source(spec)[0].num_classes == 4


@pytest.mark.parametrize('other', [(9, 9), (8, 8, 3)])
def test_a_test_set_of_another_shape_is_refused_before_training(other, tmp_path):
    config = config_of(tmp_path, x_train=X, y_train=Y, x_test=np.zeros((6, *other), np.uint8), y_test=Y[:6])
    with pytest.raises(
        UserError, match=r'test. has rows \[.*\] uint8 and npz:.* \[8, 8, 1\] uint8; set data.image_size'
    ):
        build.open_data(config)


@pytest.mark.parametrize('shape', [(5,), (7, 3)])
def test_features_are_standardised_by_train(shape, tmp_path):
    rng = np.random.default_rng(0)
    train, test = (rng.normal(3, 2, (n, *shape)).astype(np.float32) for n in (40, 10))
    train[..., 0], test[..., 0] = 4, 5  # does not vary in train
    labels = np.arange(40) % 3
    given = {'train_features': train, 'train_labels': labels, 'class_names': np.array(['a', 'b', 'c'])}
    spec = write(tmp_path, 'features', **given, test_features=test, test_labels=np.arange(10) % 3)
    first, second = sources.open_source(spec)
    assert first.spec == (shape, np.float32) and first.class_names == ('a', 'b', 'c')
    reference = sklearn.preprocessing.StandardScaler().fit(train.reshape(40, -1).astype(np.float64))
    for part, rows in ((first, train), (second, test)):
        expected = reference.transform(rows.reshape(len(rows), -1)).reshape(rows.shape)
        np.testing.assert_allclose(part.images(), expected, atol=tolerances.FLOAT32)
    assert first.fingerprint != second.fingerprint
    assert len(sources.open_source(write(tmp_path, 'features', **given))[0]) == 31


BAD_FEATURES = {
    'names': ({'features': np.ones((4, 2))}, 'it needs train_features'),
    'type': ({'train_features': np.ones((4, 2), int)}, r'must be floats \[n, dim\], not int64'),
    'width': ({'train_features': np.ones((4, 2)), 'test_features': np.ones((4, 3))}, r'rows of \[3\], .* of \[2\]'),
    'nan': ({'train_features': np.full((4, 2), np.nan)}, '4 of 4 rows hold numbers that are not finite'),
    'class names': (
        {'train_features': np.ones((4, 2)), 'train_labels': np.arange(4), 'class_names': np.array(['a'])},
        'labels reach to 3',
    ),
}


@pytest.mark.parametrize('content, message', BAD_FEATURES.values(), ids=BAD_FEATURES.keys())
def test_bad_features(content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        sources.open_source(write(tmp_path, 'features', **content))


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_rows_of_a_large_features_file_stay_in_it(dtype, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    given = {'train_features': (5 + rng.normal(size=(50, 3, 4))).astype(dtype), 'train_labels': np.arange(50) % 3,
             'test_features': (5 + rng.normal(size=(7, 3, 4))).astype(dtype), 'test_labels': np.arange(7) % 3}  # fmt: skip
    given['train_features'][:, 1, 2] = 2  # does not vary
    train_bytes = given['train_features'].nbytes
    spec = write(tmp_path, 'features', **given)
    held = sources.open_source(spec)
    monkeypatch.setattr(features, 'IN_MEMORY', 0)
    monkeypatch.setattr(arrays, 'BLOCK', 16)
    mapped = sources.open_source(spec)
    for ours, theirs in zip(mapped, held, strict=True):
        assert isinstance(ours.reader, readers.Mapped) and isinstance(theirs.reader, readers.Arrays)
        np.testing.assert_allclose(ours.images(), theirs.images(), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        sent = pickle.dumps(ours.reader)
        assert len(sent) < 1000 < train_bytes  # a worker gets a place, not the rows
        np.testing.assert_array_equal(pickle.loads(sent).array(3), ours.reader.array(3))
    assert mapped[0].fingerprint == sources.open_source(spec)[0].fingerprint != mapped[1].fingerprint


def test_a_large_features_file_is_refused_for_the_same_faults(tmp_path, monkeypatch):
    monkeypatch.setattr(features, 'IN_MEMORY', 0)
    good, bad = np.ones((4, 2)), np.full((4, 2), np.nan)
    spec = write(tmp_path, 'features', train_features=good, test_features=bad)
    with pytest.raises(UserError, match=r'features:.*\[test\]: 4 of 4 rows hold numbers that are not finite'):
        sources.open_source(spec)
    place = spec.partition(':')[2]
    np.savez_compressed(place, train_features=good, test_features=good)  # read whole: it cannot be mapped
    assert isinstance(sources.open_source(spec)[0].reader, readers.Arrays)
    with open(place, 'r+b') as stream:
        stream.truncate(60)
    with pytest.raises(UserError, match='no readable npz file'):
        sources.open_source(spec)


@pytest.mark.parametrize('name', ['breast_cancer', 'digits', 'iris', 'wine'])
def test_vectors(name):
    train, test = sources.open_source(f'vectors:{name}')
    table = getattr(sklearn.datasets, f'load_{name}')()
    assert len(train) + len(test) == len(table.data) and train.spec == ((table.data.shape[1],), np.float32)
    rows = train.images().astype(np.float64)
    np.testing.assert_allclose(rows.mean(0), 0, atol=tolerances.FLOAT32)
    deviation = rows.std(0)
    np.testing.assert_allclose(deviation[deviation > 0], 1, atol=tolerances.FLOAT32)
    assert train.num_classes == len(table.target_names)
    with pytest.raises(UserError, match='vectors:irs is unknown; did you mean iris'):
        sources.open_source('vectors:irs')


@pytest.mark.parametrize('number', [0, 1])
def test_feeds_carry_vectors(number):
    source, _ = sources.open_source('vectors:wine')
    options = {'seed': 3, 'batch_size': 16, 'mesh': parallel.data_mesh(2)}
    resident = loader.make_feed('resident', source, **options)
    streaming = loader.make_feed('streaming', source, **options, workers=number)
    data, indices = resident(4, 2)
    rows, also = streaming(4, 2)
    streaming.close()
    np.testing.assert_array_equal(indices, also)
    assert rows['input'].dtype == np.float32 and rows['input'].shape == (2, 16, 13)
    for name in ('input', 'label'):
        np.testing.assert_array_equal(np.asarray(data[name])[np.asarray(indices)], rows[name])
    with pytest.raises(UserError, match='data.image_size, channels and pad are of images'):
        sources.fitted(source, image_size=8).images()


def stub(splits, features=('image', 'label'), label=0, names=('a', 'b')):
    info = SimpleNamespace(
        features={f: SimpleNamespace(names=names) for f in features}, splits=dict.fromkeys(splits, 1), full_name='own/1'
    )

    def rows(split):
        return [{features[0]: np.full((4, 4, 3), i, np.uint8), 'label': label * (i % 2)} for i in range(20)]

    return SimpleNamespace(data_dir='/data', info=info, is_prepared=lambda: True, as_data_source=rows)


TFDS = {
    'train alone': ('own', ('train',), (16, 4), 'own[train][train]'),
    'unknown test': ('own', ('train', 'dev'), (16, 4), 'own[train][train]'),
    'validation': ('own', ('train', 'validation'), (20, 20), 'own[train]'),
    'union': ('own[train+unlabelled]', ('train', 'test', 'unlabelled'), (20, 20), 'own[train+unlabelled]'),
    'slices': ('own[train[:50%]]', ('train', 'test'), (20, 20), 'own[train[:50%]]'),
    'trained on test': ('own[test]', ('train', 'test'), (16, 4), 'own[test][train]'),
    'and validation': ('own[train+test]', ('train', 'test', 'validation'), (20, 20), 'own[train+test]'),
    'all': ('own[all]', ('train', 'test'), (16, 4), 'own[all][train]'),
}


@pytest.mark.parametrize('text, splits, counts, name', TFDS.values(), ids=TFDS.keys())
def test_tfds_splits_by_name(text, splits, counts, name, monkeypatch):
    import tensorflow_datasets

    monkeypatch.setattr(tensorflow_datasets, 'builder', lambda *a, **k: stub(splits, label=1))
    train, test = sources.open_source(f'tfds:{text}')
    assert (len(train), len(test)) == counts and train.name == f'tfds:{name}'
    assert len(counts) == len({train.fingerprint, test.fingerprint})
    if counts == (16, 4):
        assert '4 images are set apart for the test' in train.notes[0]


def test_tfds_fields_by_name(monkeypatch):
    import tensorflow_datasets

    built = stub(('train', 'test'), features=('photo', 'label'), label=70_000, names=None)
    monkeypatch.setattr(tensorflow_datasets, 'builder', lambda *a, **k: built)
    train, test = sources.open_source('tfds:own[train]:photo')
    assert train[3]['input'].shape == (4, 4, 3) and train.class_names == test.class_names == ('0', '70000')
    for text, message in (
        ('own', r"has no 'image'; it has photo, label; name the images as tfds:own\[train\]:<key>"),
        ('own[trian]:photo', "has no split 'trian'; did you mean train"),
        ('own[train', 'is written tfds:<name>'),
    ):
        with pytest.raises(UserError, match=message):
            sources.open_source(f'tfds:{text}')
    assert tfds.parse('cifar10:3.0.2') == ('cifar10:3.0.2', '', 'image')


@pytest.mark.slow
def test_tfds_slices_of_a_real_set(cifar10):
    train, test = sources.open_source('tfds:cifar10[train[:50]+test[:10]]', data_dir=cifar10)
    whole, held = sources.open_source('tfds:cifar10', data_dir=cifar10)
    assert len(train) + len(test) == 60  # the test split is trained on, so that another is set apart
    assert whole.class_names == train.class_names
    assert sources.shared_rows(train, held) == ['tfds:cifar10[test]'] and not sources.shared_rows(whole, held)


def config_of(tmp_path, *overrides, **arrays):
    (tmp_path / 'sets').mkdir(exist_ok=True)
    return with_overrides(defaults(), [f'data.source={write(tmp_path / "sets", **arrays)}', *overrides])


X, Y = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 3
# What opening the data says on stderr, and the one sentence on labels before training.
SAID = {
    'all labelled': ({'x_train': X, 'y_train': Y, 'x_test': X, 'y_test': Y}, '', ''),
    'no test labels': (
        {'x_train': X, 'y_train': Y, 'x_test': X},
        '',
        'No probes: the test images have no labels; data.',
    ),
    'partly': (
        {'x_train': X, 'y_train': np.where(Y, Y, -1), 'x_test': X, 'y_test': Y},
        '',
        'Probes use the images that have a label: 40 of 60 training images and 60 of 60 test images.',
    ),
    'one class': (
        {'x_train': X, 'y_train': 0 * Y, 'x_test': X, 'y_test': 0 * Y},
        'data: npz has one class alone (0), which is no label\n',
        'No probes: the training images have no labels',
    ),
}


@pytest.mark.parametrize('arrays, said, note', SAID.values(), ids=SAID.keys())
def test_missing_labels_are_said_once_before_training(arrays, said, note, tmp_path, capsys):
    config = config_of(tmp_path, **arrays)
    found = report.label_note(build.open_data(config))
    printed = capsys.readouterr()
    assert printed.err.replace(config.data.source, 'npz') == said and not printed.out
    assert found.startswith(note) and bool(found) == bool(note)


def test_rows_are_called_what_they_are():
    units = {spec: sources.open_source(spec)[0].spec.unit for spec in ('digits', 'vectors:iris')}
    series = sources.from_rows('series', np.zeros((4, 5, 2)), np.zeros(4, int), ['a'])
    assert {**units, 'series': series.spec.unit} == {'digits': 'images', 'vectors:iris': 'vectors', 'series': 'rows'}


def test_labels_can_be_ignored_and_probes_have_their_own_source(tmp_path, capsys):
    config = config_of(tmp_path, 'data.labels=none', images=X, labels=Y)
    data = build.open_data(config)
    assert not any((part.labels >= 0).any() or part.num_classes for part in data[:4])
    config.data.probe_source = 'digits'
    other = build.open_data(config)
    digits = sources.open_source('digits')
    assert (other.labelled.fingerprint, other.test.fingerprint) == tuple(part.fingerprint for part in digits)
    assert other.train.fingerprint == data.train.fingerprint and len(other.train) + len(other.holdout) == 48
    assert other.fingerprint.startswith(f'{data.train.fingerprint}-{data.holdout.fingerprint}-{digits[1].fingerprint}')
    again = build.open_data(config, 'digits')  # another source keeps its labels
    assert again.labelled.num_classes == 10
    assert not capsys.readouterr().err
    for overrides, message in (
        (['data.per_class=2'], 'data.per_class=2 chooses by label, and data.labels=none has none'),
        (['data.probe_source=vectors:iris'], r'vectors:iris.train. has rows \[4\] float32 and .* \[8, 8, 1\] uint8'),
    ):
        with pytest.raises(UserError, match=message):
            build.open_data(with_overrides(config, overrides))


def test_the_test_of_a_probe_source_is_never_trained_on(tmp_path):
    for part in ('train', 'val'):
        for i in range(20):
            file = tmp_path / 'set' / part / 'ab'[i % 2] / f'{i}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(X[i]).save(file)
    (tmp_path / 'all').mkdir()
    for part in ('train', 'val'):
        (tmp_path / 'all' / f'{part}_').symlink_to(tmp_path / 'set' / part)
    config = with_overrides(
        defaults(), [f'data.source=folder:{tmp_path / "all"}', f'data.probe_source=folder:{tmp_path / "set"}']
    )
    with pytest.raises(UserError, match=r'would train on .*val/a/\d+\.png \(\d+ in all\)'):
        build.open_data(config)


def test_small_shared_memory_is_one_line(monkeypatch):
    source, _ = sources.open_source('digits')

    def full(descriptor, start, size):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(workers.os, 'posix_fallocate', full, raising=False)
    options = {'seed': 0, 'batch_size': 64, 'mesh': parallel.data_mesh(1), 'workers': 3}
    with pytest.raises(UserError, match=r'data.workers=3 needs \d+ MB of shared memory in .* --shm-size=\d+m'):
        loader.make_feed('streaming', source, **options)


@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_packing_an_image_too_long_for_a_jpeg(how, tmp_path, capsys):
    for i in range(8):
        file = tmp_path / 'set' / 'ab'[i % 2] / f'{i}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 70000) if i == 2 else (4, 4), np.uint8)).save(file)
    arguments = [f'--data=folder:{tmp_path / "set"}', f'--out={tmp_path / "out"}', f'--on-corrupt={how}']
    message = '2.png is 70000 x 2 pixels, and JPEG holds 65,500 a side'
    if how == 'skip':
        assert pack.main(arguments) == 0 and message in capsys.readouterr().out
        assert sum(len(p) for p in sources.open_source(f'shards:{tmp_path / "out"}')) == 7
        return
    with pytest.raises(UserError, match=message):
        pack.main(arguments)
    assert not (tmp_path / 'out').exists()


def test_names_of_classes_to_pack_may_hold_spaces(tmp_path):
    for i, name in enumerate(['great dane', 'cat', 'fox'] * 4):
        (tmp_path / 'set' / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / 'set' / name / f'{i}.png')
    (tmp_path / 'names.txt').write_text('great dane\r\n\n cat \n')
    out = tmp_path / 'out'
    assert pack.main([f'--data=folder:{tmp_path}/set', f'--out={out}', f'--classes={tmp_path}/names.txt']) == 0
    train, test = sources.open_source(f'shards:{out}')
    assert train.class_names == ('great dane', 'cat') and len(train) + len(test) == 8


def test_packing_keeps_or_applies_what_a_jpeg_cannot_hold(tmp_path):
    for i in range(4):
        (tmp_path / 'set').mkdir(exist_ok=True)
        picture_with(tmp_path)
        (tmp_path / 'art.png').rename(tmp_path / 'set' / f'{i}.png')
        (tmp_path / 'phone.jpg').rename(tmp_path / 'set' / f'{i}.jpg')
    command = [f'--data=folder:{tmp_path / "set"}', '--short-side=8']
    pack.main([*command, f'--out={tmp_path / "kept"}'])
    pack.main([*command, f'--out={tmp_path / "turned"}', '--background=white', '--orientation=exif'])
    kept, turned = (sources.open_source(f'shards:{tmp_path / name}')[0] for name in ('kept', 'turned'))
    upright = sources.treated(kept, sources.Treatment('none', 'exif'))
    assert {kept[i]['input'].shape[:2] for i in range(len(kept))} <= {(8, 8), (8, 16)}
    for i in range(len(kept)):
        assert upright[i]['input'].shape == turned[i]['input'].shape
        assert turned[i]['input'].max() == 255 and (kept[i]['input'].shape != (8, 8, 3) or kept[i]['input'].max() == 0)


def test_specs_reach_the_device():
    source, _ = sources.open_source('digits')
    assert source.spec == ((8, 8, 1), np.uint8) and source.spec.is_image and source.image_shape == (8, 8, 1)
    feed = loader.make_feed('resident', source, seed=0, batch_size=8, mesh=parallel.data_mesh(1))
    assert isinstance(feed.data['input'], jax.Array) and feed.data['input'].dtype == np.uint8
