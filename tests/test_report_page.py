"""`report.html`: well-formed, self-contained, escaped, bounded; each section shows what the data say."""

import base64
import dataclasses
import io
import json
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from PIL import Image
from selfsup import config as config_module
from selfsup import evaluate, parallel
from selfsup.data.sources import Source, from_arrays, open_source
from selfsup.engine import build, drawn, images, loop, page, report
from selfsup.engine.build import Data
from selfsup.engine.controls import pair_sources
from selfsup.engine.gradient import VIEWS
from selfsup.engine.page import (
    compose,
    confusion,
    controls,
    facts,
    features_map,
    gather,
    html,
    overview,
    svg,
    thumbnails,
)
from selfsup.engine.run import Run
from selfsup.engine.step import count_views
from selfsup.evals import Features
from selfsup.methods import Method
from sklearn.linear_model import LogisticRegression

NASTY = '<u>&"\''
LIMIT = 5_000_000


class Parsed(HTMLParser):
    """A page read back: its tags must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], set(), [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += [(name, key, value) for key, value in attributes]
        if name not in html.VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open and self.open[-1] == name, (name, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('script', 'style'):
            self.text.append(data)

    def values(self, key):
        return [value for _, found, value in self.attributes if found == key]

    @property
    def shown(self):
        return ' '.join(' '.join(self.text).split())


class Plain:
    """In the place of an encoder: statistics of each row, whatever its shape."""

    step = 7
    method = Method(None, None, None, None)

    def __init__(self, config):
        self.config = config

    def outputs(self, batch):
        flat = batch.reshape(len(batch), -1).astype(np.float32) / 255
        z = np.stack([flat.mean(1), flat.std(1), flat[:, 0], flat[:, -1], flat.max(1)], axis=1)
        return {'features': z, 'embeddings': 2 * z}

    def __call__(self, batch):
        return self.outputs(batch)['features']


def photographs(root):
    """Three classes in a folder, of nasty names."""
    rng = np.random.default_rng(0)
    for label in range(3):
        folder = root / f'{label}{NASTY}'
        folder.mkdir(parents=True)
        for i in range(12):
            picture = rng.integers(60 * label, 60 * label + 90, (20, 14, 3), np.uint8)
            Image.fromarray(picture).save(folder / f'{i}{NASTY}.png')
    source = images._uncut(*open_source(f'folder:{root}'))
    rows = np.arange(len(source))
    return source.select(rows[rows % 3 > 0], 'train'), source.select(rows[rows % 3 == 0], 'test')


def grey(count, classes, side=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % max(classes, 1) if classes else np.full(count, -1)
    pixels = (
        rng.integers(0, 60, (count, side, side, 1))
        + (190 * np.maximum(labels, 0) // max(classes, 1))[:, None, None, None]
    )
    found = from_arrays('made', np.clip(pixels, 0, 255).astype(np.uint8), labels.astype(np.int32))
    return found.replace(class_names=[f'{c}{NASTY}' for c in range(classes)])


class Rows:
    """Vectors by a formula."""

    def array(self, index):
        return np.random.default_rng(index).normal(size=6).astype(np.float32) + index % 2

    def name(self, index):
        return ''


def vectors(count):
    return Source('rows', Rows(), np.arange(count) % 2, (f'a{NASTY}', 'b'), 'x')


# Variant -> its train and test parts, made in a folder.
VARIANTS = {
    'images': photographs,
    'unlabelled': lambda root: (grey(30, 0), grey(20, 0, seed=1)),
    'vectors': lambda root: (vectors(40), vectors(20)),
    'many classes': lambda root: (grey(90, 30), grey(60, 30, seed=1)),
    'too few for a map': lambda root: (grey(30, 2), grey(3, 2, seed=1)),
}
LINES = [{'step': s, 'loss': 3 / s, f'term {NASTY}': float('nan') if s == 2 else s} for s in range(1, 6)]


def config_of(*overrides):
    config = small.digits_config('vicreg', 'evaluate.batch_size=16', 'evaluate.label_counts=()', *overrides)
    with config.unlocked():
        config.data.source = f'folder:{NASTY}'
    return config


def made(root, variant):
    """The workdir of a report of a variant."""
    train, test = VARIANTS[variant](root / 'data')
    workdir = root / 'run'
    workdir.mkdir()
    about = {'command': f'python -m selfsup.train {NASTY}', 'versions': {'jax': NASTY}, 'git': '', 'identity': 'abc'}
    (workdir / 'config.json').write_text(json.dumps(about))
    timing = [{'step': s, 'images_per_second': 50.0, 'waiting_share': 0.25, 'seconds': 9.0 + s} for s in (1, 2, 3)]
    (workdir / 'timing.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in timing))
    data = Data(train, test, train, test)
    encoder = Plain(config_of())
    report.finish(workdir, data, encoder, encoder if variant == 'images' else None, LINES)
    return workdir, data


@pytest.fixture(scope='module')
def reports(tmp_path_factory):
    """Each variant's workdir and data, made when it is asked for."""
    found = {}

    def of(variant):
        if variant not in found:
            found[variant] = made(tmp_path_factory.mktemp('page'), variant)
        return found[variant]

    return of


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A whole run of eight steps, beside the folder of what is no run."""
    root = tmp_path_factory.mktemp('runs')
    (root / 'a file').write_text('no run')
    (root / 'damaged').mkdir()
    (root / 'damaged' / 'config.json').write_text('{')
    config = small.digits_config('simclr', 'train.epochs=2', 'monitor.max_samples=64', 'evaluate.label_counts=()')
    assert loop.train(config, str(root / 'run'), devices=1) == 0
    return root / 'run'


def read(workdir):
    return (workdir / 'report.html').read_text(encoding='utf-8')


@pytest.mark.parametrize('variant', [*VARIANTS, 'run'])
def test_a_page_is_well_formed_and_loads_nothing(variant, reports, request):
    text = read(request.getfixturevalue('finished') if variant == 'run' else reports(variant)[0])
    found = Parsed(text)
    assert len(text.encode()) < LIMIT and text.startswith('<!DOCTYPE html>')
    assert 'http://' not in text and 'https://' not in text and not found.tags & {'link', 'iframe', 'object', 'base'}
    assert all(source.startswith('data:image/') for source in found.values('src'))
    assert "default-src 'none'" in ' '.join(found.values('content')) and 'width=device-width' in text
    ids = found.values('id')
    assert len(ids) == len(set(ids)) and [name for name in ids if name in page.SECTIONS] == [*page.SECTIONS]
    assert {link.removeprefix('#') for link in found.values('href')} == set(page.SECTIONS)
    assert all(name.isascii() and name[:2] != 'on' for _, name, _ in found.attributes), 'no handler in an attribute'
    assert 'is left out: ' not in found.shown


@pytest.mark.parametrize('variant', VARIANTS)
def test_what_comes_from_outside_is_escaped(variant, reports):
    text = read(reports(variant)[0])
    found = Parsed(text)
    assert NASTY not in text and 'u' not in found.tags
    assert f'folder:{NASTY}' in found.shown and f'selfsup.train {NASTY}' in found.shown, 'it is shown as it is'
    if variant == 'images':
        assert f'0{NASTY}' in found.shown


SHOWN = {
    'images': (
        'untrained encoder',
        'raw pixels',
        'true ↓ predicted →',
        'term <u>',
        '25.0%',
    ),
    'unlabelled': ('No probes: the training images have no labels', 'There is no linear probe', 'Without labels only'),
    'vectors': ('There are no pictures: the data are vectors [6].', 'the rows are no images', 'true ↓ predicted →'),
    'many classes': ('The most frequent confusions of more than 20 classes', '30 classes; colours repeat'),
    'too few for a map': ('There is no map of the test features: there are 3 of them',),
}


@pytest.mark.parametrize('variant', SHOWN)
def test_a_section_that_does_not_apply_says_why(variant, reports):
    shown = Parsed(read(reports(variant)[0])).shown
    for sentence in SHOWN[variant]:
        assert sentence in shown, sentence
    assert 'There are no views: ' in shown or 'There are no pictures' in shown  # no batch of 320 rows


def test_a_page_is_the_same_bytes_twice(reports):
    workdir, data = reports('images')
    text = read(workdir)
    encoder = Plain(config_of())
    report.finish(workdir, data, encoder, encoder, LINES)
    assert read(workdir) == text


def test_evaluate_writes_the_page_of_a_run_again(finished):
    text = read(finished)
    shown = Parsed(text).shown
    for part in (
        'view 1',
        'Loss',
        'trained encoder',
        'No control on shuffled_pairs',
        'optimizer.learning_rate',
        'pytest',
    ):
        assert part in shown, part
    (finished / 'report.html').unlink()
    assert evaluate.main([f'--workdir={finished}']) == 0
    assert read(finished) == text


def broken(found):
    raise ValueError(f'no {NASTY}\nroom')


def test_a_section_that_fails_is_left_out_alone(reports, monkeypatch, capsys, tmp_path):
    def fails(*arguments):
        assert (tmp_path / 'results.json').is_file() and (tmp_path / 'report.md').is_file()
        return broken(arguments)

    _, data = reports('vectors')
    monkeypatch.setitem(page.SECTIONS, 'spectrum', page.SECTIONS['spectrum']._replace(gather=fails))
    monkeypatch.setitem(page.SECTIONS, 'config', page.SECTIONS['config']._replace(html=lambda facts, found: 1 / 0))
    report.finish(tmp_path, data, Plain(config_of()), None, LINES)
    shown, told = Parsed(read(tmp_path)).shown, capsys.readouterr().err
    for line in (
        f'Spectrum is left out: ValueError: no {NASTY} room',
        'Config is left out: ZeroDivisionError: division by',
    ):
        assert line in shown and f'report.html: {line}' in told
    assert told.count('\n') == 2 and 'true ↓ predicted →' in shown and 'σ / σ₁' not in shown


def test_a_page_is_bounded_whatever_the_data(monkeypatch, capsys):
    """A thousand images of noise in 200 classes of long names; and a limit that sections would pass."""
    rng = np.random.default_rng(0)
    labels = np.arange(1000, dtype=np.int32) % 200
    source = from_arrays('noise', rng.integers(0, 256, (1000, 40, 40, 3), np.uint8), labels)
    source = source.replace(class_names=['é' * 5000 + str(c) for c in range(200)])
    monkeypatch.setattr(drawn, 'map_of', lambda features: rng.normal(size=(len(features), 2)))
    monkeypatch.setattr(report, 'MOST_PIXELS', 0)
    lines = [{'step': s, **{f'metric {m}': s * m for m in range(60)}} for s in range(2000)]
    data, encoder = Data(source, source, source, source), Plain(config_of())
    encoded = report.representations(data, encoder, None)
    found = facts_of(data, encoder, encoded, table={'trained': {'linear': 0.5}}, lines=lines)
    text = page.page(found)
    assert 1_000_000 < len(text.encode()) < LIMIT and 'Without a chart: metric' in Parsed(text).shown
    assert not capsys.readouterr().err
    monkeypatch.setattr(compose, 'MOST_BYTES', 200_000)
    text = page.page(found)
    assert len(text.encode()) < 220_000
    assert 'Map of the features is left out: with it the page would be larger than 200,000 bytes' in Parsed(text).shown
    assert 'Map of the features is left out' in capsys.readouterr().err


class Formula:
    """Images by a formula: nothing of them is kept."""

    def array(self, index):
        row = (np.arange(64) * (index % 7 + 1) + 40 * (index % 3)) % 256
        return np.broadcast_to(row[:, None, None], (64, 64, 3)).astype(np.uint8)

    def name(self, index):
        return ''


def test_memory_of_a_page_does_not_grow_with_the_images(monkeypatch):
    monkeypatch.setattr(report, 'MOST_PIXELS', 0)
    monkeypatch.setattr(drawn, 'map_of', lambda features: np.asarray(features[:, :2], np.float64))
    peaks = []
    for count in (100, 700, 100, 700):  # each shape is compiled once
        train, test = (Source(name, Formula(), np.arange(n) % 3, 'abc', name) for name, n in (('a', count), ('b', 30)))
        data, encoder = Data(train, test, train, test), Plain(config_of('data.batch_size=1000'))
        found = facts_of(data, encoder, report.representations(data, encoder, None), table={'trained': {'linear': 0.5}})
        tracemalloc.start()
        page.page(found)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[3] - peaks[2] < 0.1 * 600 * 64 * 64 * 3, peaks


def test_pictures_of_a_method_are_in_the_page(tmp_path):
    Image.new('L', (40, 20), 200).save(tmp_path / 'made.png')
    shown = [page.Picture('made.png', f'caption {NASTY}', f'a note {NASTY}'), 'bad.png is left out: reason']
    shown.append(page.Picture('features.png', 'drawn by the page itself', ''))
    found = facts_of(None, Plain(config_of()), workdir=tmp_path)
    found = Parsed(compose.section('pictures', dataclasses.replace(found, pictures=shown)))
    assert found.shown.split() == f'bad.png is left out: reason caption {NASTY} a note {NASTY}'.split()
    (uri,) = found.values('src')
    assert decoded(uri).size == (40, 20) and decoded(uri).getpixel((3, 3)) == 200


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2])))


def test_the_map_has_the_image_of_each_point(reports):
    workdir, data = reports('images')
    text = read(workdir)
    start = text.index('>', text.index('id="points"')) + 1
    points = json.loads(text[start : text.index('</script>', start)])
    count = len(data.test)
    assert text.count('<circle') >= count and len(points['labels']) == len(points['files']) == count
    np.testing.assert_array_equal(points['labels'], data.test.labels)
    assert points['classes'] == {str(c): f'{c}{NASTY}' for c in range(3)} and points['tile'] == 20
    sheet = np.asarray(decoded(points['sheet']))
    for i in (0, 5, count - 1):
        row, column = divmod(i, points['columns'])
        tile = sheet[20 * row : 20 * row + 20, 20 * column : 20 * column + 20]
        np.testing.assert_array_equal(tile[:, 3:17], data.test.reader.array(i))
        assert points['files'][i].endswith(f'{NASTY}.png')


@pytest.mark.parametrize('control', ['none', 'shuffled_pairs'])
def test_the_views_are_those_of_the_first_step(control):
    config = small.digits_config('simclr', f'control={control}')
    run = Run(config, devices=1)
    rows, indices = run.feed(0, 1)
    inputs, size, count = rows['input'][indices[0]], indices.shape[1], count_views(config.augment.views)
    sources = pair_sources(control, size, count)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 0), VIEWS)
    expected = jax.jit(lambda k, x: run.views(k, x, jnp.arange(size), sources)[0])(key, inputs)
    encoder = Plain(config)
    found = gather.views(facts_of(run.data, encoder))
    first = 0 if control == 'none' else count - 1
    for row in range(gather.EXAMPLES):
        stored = np.asarray(found.originals[row])
        np.testing.assert_array_equal(stored, np.asarray(inputs[first + row])[..., 0])
        for view in range(count):
            pixels = 255 * np.clip(np.asarray(expected[view][first + row, ..., 0]) * 0.5 + 0.5, 0, 1)
            assert np.abs(np.asarray(found.views[row][view], np.float64) - pixels).max() <= 1, (row, view)


@pytest.mark.parametrize('crop', ['reading', 'canvas'])
def test_the_views_take_the_crops_of_the_feed(crop, tmp_path):
    for i, label in enumerate('ab' * 12):
        (tmp_path / label).mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (30 + i, 50 - i, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / label / f'{i}.png')
    fields = (f'data.source=folder:{tmp_path}', f'data.crop={crop}', 'data.feed=streaming', 'data.image_size=32')
    fields += ('data.batch_size=8', 'data.canvas=64', 'optimizer.warmup_epochs=0', 'train.epochs=1')
    config = config_module.load('experiments/cifar10/simclr.py', [*fields])
    data = build.open_data(config)
    feed = build.build_feed(config, data.train, parallel.data_mesh(1))
    expected, indices = feed(0, 1)
    found, used = gather._rows(facts_of(data, Plain(config)), 6)
    np.testing.assert_array_equal(used, np.asarray(indices)[0, :6])
    wanted = jax.tree.map(lambda x: np.asarray(x)[0, :6], expected['input'])
    assert type(found) is type(wanted) and len(found.boxes) == 2
    for box, other in zip(found.boxes, wanted.boxes, strict=True):
        np.testing.assert_array_equal(np.asarray(box), other)
    if crop == 'reading':
        for view, other in zip(found.views, wanted.views, strict=True):
            np.testing.assert_array_equal(np.asarray(view), other)
        return
    for i in range(6):  # outside its image a canvas holds what was there
        height, width = (int(np.ceil(max(box[i, k] + box[i, k + 2] for box in wanted.boxes))) for k in (0, 1))
        np.testing.assert_array_equal(np.asarray(found.images)[i, :height, :width], wanted.images[i, :height, :width])


def facts_of(data, encoder, encoded=None, *, table=None, workdir=Path('/nowhere'), lines=()):
    names, headings = report.REPRESENTATIONS, {'linear': 'linear, all labels'}
    shown = drawn.Drawn(data, encoder, encoded, list(lines))
    return page.Facts(workdir, shown, table or {}, names, headings, {}, '', '', '', [])


def test_neighbours_are_those_of_a_full_search(monkeypatch):
    rng = np.random.default_rng(0)
    queries, bank = rng.normal(size=(4, 7)).astype(np.float32), rng.normal(size=(50, 7)).astype(np.float32)
    bank[30] = 2 * bank[3]  # of equal cosines the first comes first
    cosines = (queries @ bank.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(bank, axis=1)
    expected = np.argsort(-cosines.round(5), axis=1, kind='stable')[:, :6]
    for size in (10**6, 70, 1):
        monkeypatch.setattr(gather, 'BANK_VALUES', size)
        index, found = gather.nearest(queries, bank, 6)
        np.testing.assert_array_equal(index, expected)
        np.testing.assert_allclose(found, np.take_along_axis(cosines, expected, axis=1), atol=1e-5)


def test_without_labels_an_image_is_not_its_own_neighbour():
    source = grey(20, 0)
    encoder = Plain(config_of())
    encoded = report.representations(Data(source, source, source, source), encoder, None)
    found = gather.neighbours(facts_of(Data(source, source, source, source), encoder, encoded))
    assert [len(row) for row in found.found['trained']] == [gather.NEIGHBOURS] * len(found.queries)
    for (picture, _, _), row in zip(found.queries, found.found['trained'], strict=True):
        assert all(np.asarray(near.picture).tolist() != np.asarray(picture).tolist() for near in row)


@pytest.mark.parametrize('most', [2**26, 60 * 3])
def test_the_probe_of_the_page_is_a_logistic_regression(most, monkeypatch):
    """Also where test has a class that train has not, and where it is fitted on some rows alone."""
    monkeypatch.setattr(facts, 'MOST_FITTED', most)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3 * 2  # classes 0, 2, 4
    centres = np.eye(3)[labels // 2]
    train = Features((rng.normal(size=(120, 3)) + 2 * centres).astype(np.float32), labels)
    test = Features(train.features[:40] + 0.5, np.where(np.arange(40) == 7, 5, labels[:40]))
    found = facts.fitted(train, test, np.arange(40), inverse_regularization=0.7)
    rows = facts.even_draw(labels, most // 3, seed=0)
    assert found.fitted == len(rows) == min(120, most // 3)
    x, y = facts.standardized(train, test)
    model = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000).fit(x[rows].astype(np.float64), labels[rows])
    shares = model.predict_proba(y.astype(np.float64))
    np.testing.assert_array_equal(found.predicted, model.predict(y))
    np.testing.assert_allclose(found.certainty, shares.max(axis=1), atol=1e-3)
    own = np.where(test.labels == 5, 0, shares[np.arange(40), np.minimum(test.labels // 2, 2)])
    np.testing.assert_allclose(found.true, own, atol=1e-3)


def test_confusion_counts(reports):
    data = reports('images')[1]
    probe = facts.Probe(*(np.array(a) for a in ([0, 1, 2, 3, 4], [0, 0, 1, 2, 2], [0, 1, 1, 1, 1], [], [])), 9)
    found = facts_of(data, Plain(config_of()))
    found.__dict__['probe'] = probe
    result = confusion.confusion(found)
    assert result.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 2, 0]]
    assert result.accuracy == 0.4 and (result.rows, result.fitted) == (5, 9)
    assert result.pairs == [(f'2{NASTY}', f'1{NASTY}', 2, 1.0), (f'0{NASTY}', f'1{NASTY}', 1, 0.5)]


COMPARED = {
    'above': ({'trained': 0.9, 'pixels': 0.5}, 'is above raw pixels (0.500)'),
    'below': ({'trained': 0.3, 'untrained': 0.5}, 'is below untrained encoder (0.500)'),
    # Two standard errors of two shares of one half of 400 rows are 0.0707.
    'close': ({'trained': 0.57, 'pixels': 0.5}, 'is not distinguishable from raw pixels (0.500)'),
    'both': ({'trained': 0.58, 'untrained': 0.5, 'pixels': 0.6}, 'above untrained encoder (0.500) and not disting'),
}


@pytest.mark.parametrize('scores, words', COMPARED.values(), ids=COMPARED.keys())
def test_the_verdict_heeds_the_standard_error(scores, words):
    table = {name: {'knn': 0.1, 'linear': value} for name, value in scores.items()}
    assert words in overview.comparison(table, report.REPRESENTATIONS, 400, 'images')


def test_the_shuffled_control_beside_a_run_is_in_the_table(tmp_path):
    config, about = small.digits_config('simclr'), {'fingerprint': 'f'}
    encoder = Plain(config)
    changes = {'none': {}, 'other': {'control': 'shuffled_pairs', 'lr': 1}, 'right': {'control': 'shuffled_pairs'}}

    def beside(name, fingerprint='f', scores=None):
        folder = tmp_path / name
        folder.mkdir()
        saved = json.loads(controls.to_json(config))
        saved |= {k: v for k, v in changes[name].items() if k != 'lr'}
        if 'lr' in changes[name]:
            saved['optimizer']['learning_rate'] = 9.0
        saved['seed'] = 3
        (folder / 'config.json').write_text(json.dumps({'config': saved, 'fingerprint': fingerprint}))
        (folder / 'results.json').write_text(json.dumps({'step': 1, 'scores': scores or {'trained': {'linear': 0.25}}}))

    assert controls.shuffled(tmp_path / 'run', encoder, about).scores == {}
    beside('none'), beside('other')
    assert 'No control on shuffled_pairs' in controls.shuffled(tmp_path / 'run', encoder, about).note
    beside('right')
    found = controls.shuffled(tmp_path / 'run', encoder, about)
    assert found == controls.Control({'control shuffled_pairs (right)': {'linear': 0.25}}, '')
    assert controls.shuffled(tmp_path / 'run', encoder, {'fingerprint': 'g'}).scores == {}
    assert controls.shuffled(tmp_path / 'run', encoder, {}) == controls.Control({}, '')


def test_the_account_of_two_sessions(tmp_path):
    def line(step, rate, seconds, **more):
        return {'step': step, 'images_per_second': rate, 'waiting_share': 0.5, 'seconds': seconds, **more}

    size = small.digits_config().data.batch_size
    # 10 s of start-up, then a step a second; resumed at step 30, with 4 s of start-up.
    first = [line(10, size / 2, 20.0), line(20, size, 30.0), line(30, size, 40.0)]
    second = [line(40, size, 14.0, peak_share=0.2), line(50, size, 24.0, peak_share=0.2)]
    (tmp_path / 'timing.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in first + second))
    found = overview.account(facts_of(None, Plain(small.digits_config()), workdir=tmp_path))
    assert found.sessions == [
        ['1', '0 to 30', '40 s', '10.0 s', str(size), '50.0%', 'unknown chip'],
        ['2', '30 to 50', '24 s', '4.0 s', str(size), '50.0%', '20.0%'],
    ]


def test_changed_fields_come_first():
    found = overview.config(facts_of(None, Plain(small.digits_config('vicreg', 'optimizer.momentum=0.3', 'seed=4'))))
    changed = {name: (value, default) for name, value, default in found.changed}
    assert changed['optimizer.momentum'] == ('0.3', '0.9') and changed['seed'] == ('4', '0')
    assert changed['method.name'] == ("'vicreg'", "'barlow_twins'")
    rest = dict(found.rest)
    assert rest['method.covariance_weight'] == '1.0' and rest['control'] == "'none'" and not rest.keys() & changed


TICKS = {
    'unit': ((0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    'odd': ((20.0, 500.0), [100.0, 200.0, 300.0, 400.0, 500.0]),
    'tiny': ((0.001, 0.0012), [0.001, 0.00105, 0.0011, 0.00115, 0.0012]),
    'negative': ((-3.0, 3.0), [-2.0, 0.0, 2.0]),
}


@pytest.mark.parametrize('span, wanted', TICKS.values(), ids=TICKS.keys())
def test_ticks_are_round(span, wanted):
    np.testing.assert_allclose(svg.ticks(*span), wanted, rtol=1e-9)


SERIES = {
    'finite': ([1.0, 2.0, 3.0], 1),
    'a gap': ([1.0, np.nan, 3.0, 4.0], 2),
    'constant': ([2.0, 2.0], 1),
    'zero': ([0.0, 0.0], 1),
    'none finite': ([np.nan, np.inf], 0),
    'huge': ([1e30, -1e30], 1),
    'long': (list(range(5000)), 1),
}


@pytest.mark.parametrize('values, lines', SERIES.values(), ids=SERIES.keys())
def test_a_chart_of_any_series(values, lines):
    text = svg.chart('t', {'a': (list(range(len(values))), values)})
    Parsed(text)
    assert text.count('<polyline') == lines and len(text) < 20_000
    assert ('no finite value' in text) == (not lines) and 'nan' not in text.replace('finance', '')


TEXTS = {
    'short': ('abc', 'abc'),
    'long': ('a' * 300, 'a' * 59 + '…' + 'a' * 60),
    'control': ('a\nb\x00', 'a\\nb\\x00'),
    'bytes of no text': (b'\xff'.decode('utf-8', 'surrogateescape'), '\\udcff'),
}


@pytest.mark.parametrize('text, wanted', TEXTS.values(), ids=TEXTS.keys())
def test_texts_are_cut_and_printable(text, wanted):
    assert html.short(text) == wanted


IMAGES = {
    'grey': ((4, 6, 1), np.uint8, 'L', (6, 4)),
    'colour': ((40, 20, 3), np.uint8, 'RGB', (8, 16)),
    'two channels': ((4, 4, 2), np.uint8, 'L', (4, 4)),
    'five channels': ((4, 4, 5), np.uint8, 'RGB', (4, 4)),
    'float': ((4, 4, 3), np.float32, 'RGB', (4, 4)),
}


@pytest.mark.parametrize('shape, kind, mode, size', IMAGES.values(), ids=IMAGES.keys())
def test_thumbnails(shape, kind, mode, size):
    array = np.random.default_rng(0).uniform(0, 1 if kind == np.float32 else 255, shape).astype(kind)
    picture = thumbnails.picture_of(array, 16)
    assert (picture.mode, picture.size) == (mode, size)
    assert np.asarray(decoded(thumbnails.data_uri(picture))).tolist() == np.asarray(picture).tolist()


@pytest.mark.parametrize('most', [2**10, 2**14, 2**18])
def test_the_size_of_a_picture_is_bounded(most):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8))
    uri = thumbnails.data_uri(noise, most)
    assert len(uri) <= most + 100 and decoded(uri).width * 3 == pytest.approx(decoded(uri).height * 2, abs=3)


def test_json_in_a_script_ends_no_script():
    text = features_map.script_data({'a': '</script><!--', 'b': [1, NASTY]})
    assert '<' not in text and '>' not in text and json.loads(text) == {'a': '</script><!--', 'b': [1, NASTY]}
