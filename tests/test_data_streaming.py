"""Feeds: the same batches from memory, threads and processes; crops taken on reading; corrupt images; packing."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from selfsup import augment, pack, parallel
from selfsup.config import defaults, with_overrides
from selfsup.data import batches, crop_boxes, loader, readers, shards, sources
from selfsup.engine import build
from selfsup.errors import UserError

VIEWS = {
    'first': {'size': 16, 'crop': {'scale': (0.2, 1.0), 'method': 'bicubic'}, 'flip': 0.5},
    'second': {'size': 12, 'crop': {}, 'flip': 0.5},
}


def photograph(rng, height, width):
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """40 JPEGs of several sizes in two classes, train and test."""
    root = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    for part, count in (('train', 16), ('test', 4)):
        for name in ('cat', 'dog'):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                size = (40 + 8 * (i % 3), 48 + 8 * (i % 2))
                photograph(rng, *size).save(root / part / name / f'{i:02d}.jpg', quality=95)
    return root


def gathered(feed, step, steps):
    data, indices = feed(step, steps)
    image, label = np.asarray(data['input']), np.asarray(data['label'])
    if feed.resident:
        image, label = image[np.asarray(indices)], label[np.asarray(indices)]
    return image, label, np.asarray(indices)


@pytest.mark.parametrize('number', [0, 2])
def test_resident_and_streaming_give_the_same_batches(number):
    source, _ = sources.open_source('digits')
    mesh = parallel.data_mesh(2)
    options = {'seed': 3, 'batch_size': 64, 'mesh': mesh}
    resident = loader.make_feed('resident', source, **options)
    streaming = loader.make_feed('streaming', source, **options, workers=number)
    for step, steps in ((0, 1), (1, 2), (20, 3), (23, 1), (0, 1)):  # across epochs, and back
        for a, b in zip(gathered(resident, step, steps), gathered(streaming, step, steps), strict=True):
            np.testing.assert_array_equal(a, b)
    streaming.close()


def test_a_large_set_is_spread_over_the_devices(monkeypatch):
    source, _ = sources.open_source('digits')
    options = {'seed': 3, 'batch_size': 64, 'mesh': parallel.data_mesh(8)}
    whole = loader.make_feed('resident', source, **options)
    monkeypatch.setattr(loader, 'RESIDENT_LIMIT', 1000)
    spread = loader.make_feed('resident', source, **options)
    assert spread.data['input'].addressable_shards[0].data.shape[0] == -(-len(source) // 8)
    gather = jax.jit(lambda data, indices: {name: array[indices] for name, array in data.items()})
    for a, b in zip(*(jax.tree.leaves(gather(*feed(21, 2))) for feed in (whole, spread)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('shape', [(375, 500), (40, 200), (33, 32)])
def test_boxes_are_those_of_the_step(shape):
    positions, crop = np.arange(50, 82), crop_boxes.crops(augment.expand(VIEWS))

    @jax.jit
    def device(step):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(11), step), 0)
        keys = jax.vmap(lambda p: jax.random.fold_in(key, p))(positions)
        names = [(v, {k: c for k, c in s['crop'].items() if k != 'method'}) for v, s in enumerate(VIEWS.values())]

        def draw(key, view, fields):
            key = jax.random.fold_in(jax.random.fold_in(key, view), 0)
            return augment.sample_crop(key, *shape, **fields)

        return [jax.vmap(lambda k, v=v, f=f: draw(k, v, f))(keys) for v, f in names]

    for step in (0, 7, 2**31):
        ours, theirs = crop_boxes.draw(11, step, positions, 2), device(np.uint32(step))
        for view in range(2):
            boxes = [crop_boxes.box(ours[view], row, *shape, crop[view]) for row in range(32)]
            np.testing.assert_array_equal(boxes, theirs[view])


def open_feed(folder, number=0, on_corrupt='stop', canvas=0):
    source = sources.fitted(sources.open_source(f'folder:{folder}')[0], image_size=16, channels=3).heeding(on_corrupt)
    options = {
        'seed': 5,
        'batch_size': 8,
        'mesh': parallel.data_mesh(2),
        'crops': crop_boxes.crops(augment.expand(VIEWS)),
        'channels': 3,
    }
    return source, loader.make_feed('streaming', source, **options, workers=number, canvas=canvas)


# In steps of 8 bits. Pillow rounds after each axis, and Pillow 13 cuts the cubic kernel's overshoot in another order;
# a canvas is cropped by the very products of the device's own crops, of another length.
FAR_FROM_DEVICE = {0: (6, 1.01), 64: (1e-3, 1e-3)}


@pytest.mark.parametrize(
    'number, canvas',
    [(0, 0), (3, 64), pytest.param(0, 64, marks=pytest.mark.slow), pytest.param(3, 0, marks=pytest.mark.slow)],
)
def test_crops_on_reading_are_the_devices_crops(folder, number, canvas, tmp_path):
    for file in (folder / 'train').rglob('*.jpg'):  # another format, since a JPEG may be decoded at a lower scale
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        with Image.open(file) as picture:
            picture.crop((0, 0, 48, 40)).save(tmp_path / file.parent.name / f'{file.stem}.png')
    source, feed = open_feed(tmp_path, number, canvas=canvas)
    make = jax.jit(augment.make_views(VIEWS, mean=(0.0,), std=(1.0,)))
    for step in (0, 1, 6):
        data, indices = feed(step, 1)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), step), 0)
        images = jax.tree.map(lambda x: x[0], data['input'])
        views, params = make(key, images, jnp.arange(8))
        if canvas:  # no crop sees it outside its image
            images = images._replace(images=images.images.at[:, 40:].set(255).at[:, :, 48:].set(77))
            jax.tree.map(np.testing.assert_array_equal, views, make(key, images, jnp.arange(8))[0])
        full = np.stack([source.reader.inner.array(index) for index in np.asarray(indices)[0]])
        expected, drawn = make(key, full, jnp.arange(8))
        for ours, theirs, a, b, far in zip(views, expected, params, drawn, FAR_FROM_DEVICE[canvas], strict=True):
            jax.tree.map(np.testing.assert_array_equal, a, b)
            assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < far / 255
    feed.close()


def test_a_large_jpeg_is_decoded_smaller(tmp_path):
    picture = photograph(np.random.default_rng(1), 400, 480)
    picture.save(tmp_path / 'large.jpg', quality=95)
    crops = crop_boxes.crops(augment.expand({'a': VIEWS['second']}))
    with Image.open(tmp_path / 'large.jpg') as opened:
        (small,) = batches.cut(opened, 'large', [(40, 80, 200, 240)], crops, 3)
        assert opened.size == (60, 50)  # an eighth: 200 pixels are 25 then, and 12 are needed
    expected = np.asarray(picture.crop((80, 40, 320, 240)).resize((12, 12), Image.Resampling.BILINEAR), float)
    assert np.abs(small - expected).mean() < 4


@pytest.mark.parametrize(('kind', 'size'), [('jpg', (480, 400)), ('png', (480, 400)), ('jpg', (40, 480))])
def test_images_larger_than_the_canvas_are_reduced_with_their_boxes(kind, size, tmp_path):
    picture = photograph(np.random.default_rng(1), size[1], size[0])
    picture.save(tmp_path / f'large.{kind}', quality=95)
    whole = (0, 0, size[1], size[0])
    with Image.open(tmp_path / f'large.{kind}') as opened:
        image, boxes = batches.uncut(opened, 'large', [whole, (200, 10, 100, 20), (size[1] - 1, 0, 1, 1)], 100, 3)
    assert max(image.shape[:2]) == 100 and image.shape == (*(round(s * 100 / max(size)) for s in size[::-1]), 3)
    np.testing.assert_allclose(boxes[0], (0, 0, *image.shape[:2]))
    share = np.array(image.shape[:2]) / size[::-1]
    np.testing.assert_allclose(boxes[1], (200 * share[0], 10 * share[1], 100 * share[0], 20 * share[1]))
    top, left, height, width = boxes[2]
    assert (height, width) == (1, 1) and left >= 0 and top + height <= image.shape[0]
    expected = np.asarray(picture.resize(image.shape[1::-1], Image.Resampling.BICUBIC), float)
    assert np.abs(image - expected).mean() < 4
    assert np.isfinite(augment.crop_and_resize(jnp.asarray(image), jnp.array(boxes[2]), 8)).all()


def test_workers_do_not_import_jax(folder, tmp_path):
    code = """
import pickle, sys
from selfsup.data import batches
work = pickle.loads(sys.stdin.buffer.read())
rows = batches.Rows(work)(0)
assert rows['crop0'].shape == (8, 16, 16, 3), rows['crop0'].shape
assert not {'jax', 'tensorflow', 'grain'} & set(sys.modules)
"""
    import pickle

    source, _ = sources.open_source(f'folder:{folder}')
    work = batches.Work(
        source.reader, source.name, len(source), source.spec, 0, 8, (0, 8), crop_boxes.crops(augment.expand(VIEWS)), 3
    )
    subprocess.run([sys.executable, '-c', code], input=pickle.dumps(work), check=True)


@pytest.fixture
def broken(folder, tmp_path):
    """The folder with one file cut short and one that is no image."""
    for file in folder.rglob('*.jpg'):
        target = tmp_path / 'broken' / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    short, other = (tmp_path / 'broken' / 'train' / name for name in ('cat/03.jpg', 'dog/05.jpg'))
    short.write_bytes(short.read_bytes()[:300])
    other.write_text('no image')
    return tmp_path / 'broken'


@pytest.mark.parametrize('number', [0, 2])
def test_corrupt_images_stop_a_run_or_are_named_and_skipped(broken, number, capsys):
    _, feed = open_feed(broken, number)
    with pytest.raises(UserError, match=r'(cat/03|dog/05)\.jpg is no image that can be decoded'):
        for step in range(4):  # an epoch
            feed(step, 1)
    feed.close()
    source, feed = open_feed(broken, number, 'skip')
    rows = [feed(step, 1) for step in range(4)]
    assert sorted(feed.skipped) == [3, 21]
    message = capsys.readouterr().err
    assert '03.jpg is no image' in message and '05.jpg is no image' in message and message.count('skipped') == 2
    # The next image stands in, label and all; the number of the example stays.
    for data, indices in rows:
        for index, label in zip(np.asarray(indices)[0], np.asarray(data['label'])[0], strict=True):
            assert label == source.labels[{3: 4, 21: 22}.get(index, index)]
    feed.close()
    images, _, skipped = source.arrays()
    assert sorted(skipped) == [3, 21]
    np.testing.assert_array_equal(images[3], images[4])


def test_a_corrupt_first_image_can_be_skipped(folder, tmp_path, capsys):
    """The shape of the batches, the feed and evaluation all look at the first image."""
    shutil.copytree(folder, tmp_path / 'broken')
    for part in ('train', 'test'):
        (tmp_path / 'broken' / part / 'cat/00.jpg').write_text('no image')
    overrides = [f'data.source=folder:{tmp_path / "broken"}', 'data.image_size=20', 'data.batch_size=8']
    config = with_overrides(defaults(), [*overrides, 'augment.recipe=solo_symmetric', 'data.holdout=0.1'])
    with pytest.raises(UserError, match='cat/00.jpg is no image that can be decoded'):
        build.build_feed(config, build.open_data(config).train, parallel.data_mesh(1))
    config.data.on_corrupt = 'skip'
    data = build.open_data(config)
    feed = build.build_feed(config, data.train, parallel.data_mesh(1))
    assert feed.resident and sorted(feed.skipped) == [0] and 'cat/00.jpg' in capsys.readouterr().err
    images, labels, skipped = data.test.arrays()
    assert images.shape == (8, 20, 20, 3) and len(labels) == 8 and sorted(skipped) == [0]


def test_mixed_channels_are_refused(tmp_path):
    for i in range(8):
        Image.fromarray(np.zeros((9, 9) if i == 5 else (9, 9, 3), np.uint8)).save(tmp_path / f'{i}.png')
    source, _ = sources.open_source(f'folder:{tmp_path}')
    for number in (0, 1):
        feed = loader.make_feed('streaming', source, seed=0, batch_size=4, mesh=parallel.data_mesh(1), workers=number)
        with pytest.raises(UserError, match=r'cannot be batched.*set data.image_size \(and data.channels\)'):
            feed(0, 1), feed(1, 1)
        feed.close()


@pytest.mark.parametrize('where', ['device', 'reading', 'canvas'])
def test_a_config_trains_on_crops_of_the_full_image(folder, where):
    config = defaults()
    config.data.source, config.data.image_size, config.data.channels = f'folder:{folder}', 20, 3
    config.augment.recipe, config.augment.views = '', VIEWS
    config = with_overrides(config, [f'data.crop={where}', 'data.feed=streaming', 'data.batch_size=8'])
    data = build.open_data(config)
    feed = build.build_feed(config, data.train, parallel.data_mesh(2))
    rows, _ = feed(0, 2)
    shapes = [x.shape for x in jax.tree.leaves(rows['input'])]
    boxes = [(2, 8, 4), (2, 8, 4)]
    assert (
        shapes
        == {
            'device': [(2, 8, 20, 20, 3)],
            'reading': [(2, 8, 16, 16, 3), (2, 8, 12, 12, 3), *boxes],
            'canvas': [(2, 8, 512, 512, 3), *boxes],
        }[where]
    )
    feed.close()


def test_colour_operations_and_normalisation_need_their_channels():
    source, _ = sources.open_source('digits')
    for overrides, message in (
        (
            ['augment.recipe=simclr'],
            r'augment.views.both.(jitter|grey) needs 3 channels, and the images of digits\[train\] have 1',
        ),
        (
            ['augment.mean=(0.5, 0.5, 0.5)', 'augment.std=(1, 1, 1)'],
            'augment.mean has 3 entries for images of 1 channels',
        ),
    ):
        with pytest.raises(UserError, match=message):
            build.build_feed(with_overrides(defaults(), overrides), source, parallel.data_mesh(1))


def test_crops_on_reading_need_a_crop_and_a_stream(folder):
    with pytest.raises(UserError, match=r'augment.views.a has no crop'):
        crop_boxes.crops(augment.expand({'a': {'flip': 0.5}}))
    with pytest.raises(UserError, match='data.crop=reading needs data.feed=streaming'):
        source, _ = sources.open_source('digits')
        loader.make_feed(
            'resident',
            source,
            seed=0,
            batch_size=8,
            mesh=parallel.data_mesh(1),
            crops=crop_boxes.crops(augment.expand(VIEWS)),
        )


def run_pack(*arguments):
    return pack.main([f'--{a}' for a in arguments])


def test_packed_images_are_those_of_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, 'SHARD_IMAGES', 10)
    (tmp_path / 'classes.txt').write_text('dog\n')
    run_pack(f'data=folder:{folder}', f'out={tmp_path / "packed"}', 'short-side=44')
    train, test = sources.open_source(f'shards:{tmp_path / "packed"}')
    whole, _ = sources.open_source(f'folder:{folder}')
    assert len(list((tmp_path / 'packed').glob('train-*.array_record'))) == 4
    assert (len(train), len(test)) == (32, 8) and train.class_names == ('cat', 'dog')
    np.testing.assert_array_equal(train.labels, whole.labels)
    for i in range(32):
        full, small = whole[i]['input'], train[i]['input']
        if min(full.shape[:2]) <= 44:
            np.testing.assert_array_equal(full, small)
        else:
            assert min(small.shape[:2]) == 44
            resized = Image.fromarray(full).resize(small.shape[1::-1], Image.Resampling.BICUBIC)
            assert np.abs(np.asarray(resized, float) - small).mean() < 8  # JPEG's loss
    run_pack(f'data=folder:{folder}', f'out={tmp_path / "dogs"}', f'classes={tmp_path / "classes.txt"}')
    dogs, _ = sources.open_source(f'shards:{tmp_path / "dogs"}')
    assert len(dogs) == 16 and dogs.class_names == () and set(dogs.labels) == {-1}  # one class is no label
    np.testing.assert_array_equal(dogs[0]['input'], whole[16]['input'])
    # Another process opens them again.
    feed = loader.make_feed(
        'streaming',
        dogs,
        seed=0,
        batch_size=4,
        mesh=parallel.data_mesh(1),
        workers=1,
        crops=crop_boxes.crops(augment.expand(VIEWS)),
    )
    assert feed(0, 1)[0]['input'].views[0].shape == (1, 4, 16, 16, 3)
    feed.close()


def test_bad_packing(folder, broken, tmp_path, capsys):
    for arguments, message in (
        (('quality=200',), 'quality=200 must lie in'),
        (('on-corrupt=perhaps',), 'must be stop or skip'),
        (('classes=/nowhere',), 'there is no such file'),
        (('config.seed=1',), 'pack has no config'),
        ((f'out={tmp_path}/\udcff',), 'is no UTF-8'),
    ):
        with pytest.raises(UserError, match=message):
            run_pack(f'data=folder:{folder}', f'out={tmp_path / "out"}', *arguments)
    with pytest.raises(UserError, match='is not empty'):
        run_pack(f'data=folder:{folder}', f'out={folder}')
    np.savez(tmp_path / 'a.npz', images=np.zeros((9, 4, 4, 4), np.uint8))
    with pytest.raises(UserError, match=r'a.npz.* holds rows \[4, 4, 4\] uint8; pack takes images of 1 or 3 channels'):
        run_pack(f'data=npz:{tmp_path / "a.npz"}', f'out={tmp_path / "out"}')
    with pytest.raises(UserError, match=r'\.jpg is no image that can be decoded'):
        run_pack(f'data=folder:{broken}', f'out={tmp_path / "stopped"}')
    with pytest.raises(UserError, match='holds no packed images'):
        sources.open_source(f'shards:{tmp_path / "stopped"}')
    run_pack(f'data=folder:{broken}', f'out={tmp_path / "skipped"}', 'on-corrupt=skip')
    assert capsys.readouterr().out.count('skipped: ') == 2
    train, _ = sources.open_source(f'shards:{tmp_path / "skipped"}')
    assert len(train) == 30
    meta = json.loads((tmp_path / 'skipped' / shards.META).read_text())
    (tmp_path / 'skipped' / meta['parts']['test']['files'][0]).unlink()
    with pytest.raises(UserError, match='is not whole: .* is missing; pack it again'):
        sources.open_source(f'shards:{tmp_path / "skipped"}')


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r'gone\.png cannot be read: No such file'):
        readers.read_image(tmp_path / 'gone.png')


def test_packing_classes_whose_names_have_spaces_and_splits_of_which_one_has_labels(tmp_path):
    for number in range(8):
        (tmp_path / 'set' / ('a cat ', 'dog')[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new('L', (4, 4)).save(tmp_path / 'set' / ('a cat ', 'dog')[number % 2] / f'{number}.png')
    (tmp_path / 'classes.txt').write_text('a cat \ndog \n\n')
    run_pack(f'data=folder:{tmp_path / "set"}', f'out={tmp_path / "both"}', f'classes={tmp_path / "classes.txt"}')
    assert sources.open_source(f'shards:{tmp_path / "both"}')[0].class_names == ('a cat ', 'dog')
    images = np.zeros((12, 4, 4, 3), np.uint8)
    np.savez(tmp_path / 'a.npz', train_images=images, test_images=images, test_labels=np.arange(12) % 2)
    run_pack(f'data=npz:{tmp_path / "a.npz"}', f'out={tmp_path / "one"}')
    train, test = sources.open_source(f'shards:{tmp_path / "one"}')
    assert (train.labels == -1).all() and test.class_names == ('0', '1') and test.labels.tolist() == [0, 1] * 6
