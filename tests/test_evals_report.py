"""The report on data as they come: few labels, none, one class, broken images, features that cannot be drawn or probed."""

import json
import tracemalloc

import numpy as np
import pytest
import small
from PIL import Image
from selfsup.data.sources import Source, from_arrays, open_source
from selfsup.engine import images, plots, report
from selfsup.engine.build import Data
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.methods import Method


class Plain:
    """In the place of an encoder: statistics of each image, whatever its size."""

    step = 7
    method = Method(None, None, None, None)

    def __init__(self, config, change=lambda z: z):
        self.config, self._change = config, change

    def outputs(self, batch):
        flat = batch.reshape(len(batch), -1).astype(np.float32) / 255
        z = np.stack([flat.mean(1), flat.std(1), flat[:, 0], flat[:, -1], flat.max(1)], axis=1)
        return {'features': self._change(z), 'embeddings': self._change(2 * z)}

    def __call__(self, batch):
        return self.outputs(batch)['features']


def made(count, labels, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.resize(np.asarray(labels, np.int32), count)
    pixels = rng.integers(0, 100, (count, 4, 4, 1)) + 50 * np.maximum(labels, 0)[:, None, None, None]
    return from_arrays('made', pixels.astype(np.uint8), labels)


def data_of(train, test):
    return Data(train, test, train, test)


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    """What the page makes of such data is asked in the tests of its own."""
    monkeypatch.setattr(report.page, 'page', lambda facts: '')


@pytest.fixture(scope='module')
def config():
    return small.digits_config('vicreg', 'evaluate.batch_size=16', 'evaluate.label_counts=()')


NOTES = {
    'all labelled': ([0, 1], [0, 1], ''),
    'no labels at all': ([-1], [-1], 'No probes: the training images have no labels'),
    'test without labels': ([0, 1], [-1], 'No probes: the test images have no labels'),
    'train without labels': ([-1], [0, 1], 'No probes: the training images have no labels'),
    'one class': ([0], [0], 'No probes: the training images are of one class, and probes need two.'),
    'one class and rows without': ([0, -1], [0], 'No probes: the training images are of one class'),
    'partly labelled': ([0, 1, -1, -1], [0, 1], '20 of 40 training images and 24 of 24 test images.'),
    'a test label missing': ([0, 1], [0, 1, -1], '40 of 40 training images and 16 of 24 test images.'),
}


@pytest.mark.parametrize('train, test, note', NOTES.values(), ids=NOTES.keys())
def test_the_labels_decide_on_a_note(train, test, note):
    found = report.label_note(data_of(made(40, train), made(24, test, 1)))
    assert bool(found) == bool(note) and note in found and found.endswith('.' if note else '')
    assert ('data.probe_source can name' in found) == ('have no labels' in found)


# With probes of some rows and without any; whole runs have them of all.
OFTEN = ('no labels at all', 'partly labelled')


@pytest.mark.parametrize(
    'train, test, note',
    [pytest.param(*row, id=name, marks=[] if name in OFTEN else pytest.mark.slow) for name, row in NOTES.items()],
)
def test_the_labels_decide_on_probes(train, test, note, config, tmp_path, capsys):
    data = data_of(made(40, train), made(24, test, 1))
    report.finish(tmp_path, data, Plain(config), Plain(config), [])
    numbers, text = json.loads((tmp_path / 'results.json').read_text()), (tmp_path / 'report.md').read_text()
    assert (not note) or note in text
    if note.startswith('No probes'):
        assert numbers['scores'] == {} and 'Probes of the frozen backbone' not in text
    else:
        labelled = [int((part.labels >= 0).sum()) for part in (data.labelled, data.test)]
        assert set(numbers['scores']) == {'trained', 'untrained', 'pixels'}
        assert f'on {labelled[0]} training and {labelled[1]} test images' in text
        assert 'raw pixels' in capsys.readouterr().out
    assert numbers['ranks'].keys() == {'rankme of test embeddings', 'rankme of test features'}
    assert (tmp_path / 'features.png').is_file() and (tmp_path / 'training.png').is_file()


def test_probes_of_partly_labelled_data_are_those_of_the_labelled_rows():
    config = small.digits_config('vicreg', 'evaluate.batch_size=16', 'evaluate.label_counts=(1,)')
    labels = np.arange(40) % 2
    whole, test = made(40, labels), made(24, [0, 1], 1)
    hidden = np.where(np.arange(40) % 4 < 2, labels, -1)
    rows = np.flatnonzero(hidden >= 0)
    partly = Source('partly', whole.reader, hidden, whole.class_names, 'x')
    tables = [
        report.scores(config, report.representations(data_of(train, test), Plain(config), None).features)[0]
        for train in (partly, whole.select(rows, 'labelled'))
    ]
    assert tables[0] == tables[1] and tables[0]['trained']['linear'] > 0.8


FEATURES = {
    'all zero': (lambda z: 0 * z, 'No map of the test features: they are all equal', True),
    'all one': (lambda z: 0 * z + 1, 'No map of the test features: they are all equal', True),
    'one dimension': (lambda z: z[:, :1], '', True),
    'tiny': (lambda z: 1e-25 * z, '', True),
    'not finite': (lambda z: z * np.nan, 'No probes of the trained encoder: train: 40 rows of features', False),
    'infinite': (lambda z: np.where(z > 0.5, np.inf, z), 'No map of the test features: they are not finite', False),
}


@pytest.mark.parametrize(
    'change, sentence, probed',
    [
        pytest.param(*v, id=n, marks=[pytest.mark.slow] * (n not in ('all zero', 'not finite')))
        for n, v in FEATURES.items()
    ],
)
@pytest.mark.filterwarnings('ignore::RuntimeWarning')
def test_features_that_cannot_be_drawn_or_probed(change, sentence, probed, config, tmp_path):
    data = data_of(made(40, [0, 1]), made(24, [0, 1], 1))
    table = report.finish(tmp_path, data, Plain(config, change), Plain(config), [])
    assert ('trained' in table) == probed and {'untrained', 'pixels'} <= set(table)
    assert sentence in (tmp_path / 'report.md').read_text()
    numbers = json.loads((tmp_path / 'results.json').read_text(), parse_constant=pytest.fail)
    assert numbers['scores'] == table
    assert probed == all(rank is not None for rank in numbers['ranks'].values())


MAPS = {
    'one row': (np.zeros((1, 3)), 'there are 1 of them'),
    'two rows': (np.eye(2, 8), 'there are 2 of them'),
    'three rows': (np.eye(3, 8), 'there are 3 of them'),
    'four rows': (np.eye(4, 8), (4, 2)),
    'equal and large': (np.full((50, 8), 1e6), 'they are all equal'),
    'all equal but one': (np.eye(50, 8) * (np.arange(50) == 0)[:, None], (50, 2)),
    'one dimension': (np.arange(50.0)[:, None], (50, 2)),
    'not a number': (np.full((50, 8), np.nan), 'they are not finite'),
}


@pytest.mark.parametrize('features, wanted', MAPS.values(), ids=MAPS.keys())
def test_maps(features, wanted):
    found = plots.map_of(features.astype(np.float32))
    if isinstance(wanted, str):
        assert isinstance(found, str) and found.startswith(wanted)
    else:
        assert found.shape == wanted and np.isfinite(found).all()


def test_a_picture_that_fails_is_left_out_after_the_numbers(config, tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        assert (tmp_path / 'results.json').is_file()
        raise MemoryError('no room\nfor it')

    monkeypatch.setitem(report.PICTURES, 'features.png', ('spectrum', broken))
    (tmp_path / 'features.png').write_text('of a report of before')
    assert report.finish(tmp_path, data_of(made(40, [0, 1]), made(24, [0, 1], 1)), Plain(config), None, [])
    text = (tmp_path / 'report.md').read_text()
    assert 'features.png is left out: MemoryError: no room\n' in text and '](features.png)' not in text
    assert '](training.png)' in text and not (tmp_path / 'features.png').exists()
    assert 'reconstructions' not in text
    assert 'features.png is left out' in capsys.readouterr().out


@pytest.fixture
def broken(tmp_path):
    """Three classes of eight images each, of which two cannot be decoded."""
    for label in range(3):
        (tmp_path / 'd' / f'c{label}').mkdir(parents=True)
        for i in range(8):
            value = np.full((6, 6), 60 * label + i, np.uint8)
            Image.fromarray(value).save(tmp_path / 'd' / f'c{label}' / f'{i}.png')
    for name in ('c0/3.png', 'c2/7.png'):
        (tmp_path / 'd' / name).write_bytes(b'broken')
    return tmp_path / 'd'


def test_corrupt_images_are_left_out_of_a_report(broken, config, tmp_path):
    source = images._uncut(*open_source(f'folder:{broken}')).heeding('skip')
    report.finish(tmp_path, data_of(source, source), Plain(config), None, [])
    text = (tmp_path / 'report.md').read_text()
    assert '2 of 24 images of' in text and 'on 22 training and 22 test images' in text
    stopping = source.heeding('stop')
    with pytest.raises(UserError, match='c0/3.png'):
        report.finish(tmp_path, data_of(stopping, stopping), Plain(config), None, [])


def test_labelled_images_are_the_same_held_or_decoded_when_taken(broken, monkeypatch):
    source = images._uncut(*open_source(f'folder:{broken}')).heeding('skip')
    held, labels = images.labelled_images(source)
    monkeypatch.setattr(images, 'HELD_BYTES', 0)
    lazy, lazy_labels = images.labelled_images(source)
    assert isinstance(held, np.ndarray) and isinstance(lazy, images.Images)
    np.testing.assert_array_equal(labels, lazy_labels)
    assert lazy.shape == held.shape == (22, 6, 6, 1) and len(lazy) == 22
    for rows in (slice(3, 9), np.array([20, 0, 7])):
        np.testing.assert_array_equal(lazy[rows], held[rows])


class Formula:
    """Images by a formula, in the place of files: nothing of them is kept."""

    def __init__(self, size):
        self.size = size

    def array(self, index):
        row = (np.arange(self.size) * (index % 7 + 1) + 40 * (index % 3)) % 256
        return np.broadcast_to(row[:, None, None], (self.size, self.size, 3)).astype(np.uint8)


def peak_of_a_report(config, count, size):
    labels = np.arange(count) % 3
    train, test = (Source(name, Formula(size), labels[:n], 'abc', name) for name, n in (('a', count), ('b', 30)))
    tracemalloc.start()
    try:
        report.representations(data_of(train, test), Plain(config), Plain(config))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_report_does_not_grow_with_the_images(config, monkeypatch):
    monkeypatch.setattr(report, 'MOST_PIXELS', 0)
    few, many = (peak_of_a_report(config, count, 48) for count in (100, 700))
    images_in_bytes = 600 * 48 * 48 * 3
    assert many - few < 0.1 * images_in_bytes, (few, many, images_in_bytes)


def test_raw_pixels_have_a_row_below_a_limit_only(config, monkeypatch):
    data = data_of(made(40, [0, 1]), made(24, [0, 1], 1))
    monkeypatch.setattr(report, 'MOST_PIXELS', 64 * 16)
    assert 'pixels' in report.representations(data, Plain(config), None).features
    monkeypatch.setattr(report, 'MOST_PIXELS', 64 * 16 - 1)
    found = report.representations(data, Plain(config), None)
    assert set(found.features) == {'trained'}
    assert found.notes == ['Raw pixels are left out: 1,024 values are more than 1,023.']


@pytest.mark.parametrize('size', [(64, 96), (33, 20), (12, 50)])
def test_pixels_of_large_images_are_means_over_blocks(size):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    shape = report.pixels_shape(images.shape[1:])
    assert shape == (min(size[0], 32), min(size[1], 32), 3)
    rows, columns = (np.append(np.arange(n) * full // n, full) for n, full in zip(shape, size, strict=False))
    expected = [
        images[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean((1, 2), np.float64) / 255
        for i in range(shape[0])
        for j in range(shape[1])
    ]
    np.testing.assert_allclose(report.pixels(images), np.concatenate(expected, axis=1), atol=1e-6)


def test_small_images_and_series_keep_their_values():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 8, 1)).astype(np.uint8)
    np.testing.assert_allclose(report.pixels(images), images.reshape(2, -1) / 255, rtol=1e-6)
    series = np.random.default_rng(0).normal(size=(2, 100, 5)).astype(np.float32)
    np.testing.assert_array_equal(report.pixels(series), series.reshape(2, -1))


def test_vectors_are_reported_too(config):
    """Inputs of one axis, as a source of features has them."""
    rng = np.random.default_rng(0)

    class Vectors:
        def array(self, index):
            return rng.normal(size=6).astype(np.float32) + index % 2

    sets = (Source(name, Vectors(), np.arange(n) % 2, 'ab', name) for name, n in (('a', 40), ('b', 20)))
    data = data_of(*sets)
    found = report.representations(data, Plain(config), None)
    assert found.features['pixels'][0].features.shape == (40, 6)
    assert Features(*found.features['trained'][1]).features.shape == (20, 5)
    names = report.representation_names(data.test.spec.unit)
    assert '| raw input | 0.500 |' in report.markdown_table({'pixels': {'knn': 0.5}}, names)
