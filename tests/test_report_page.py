"""`report.html`: well-formed, self-contained, escaped, bounded; a section that does not apply says why."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import small
from made_pages import NASTY, Parsed, Plain, config_of, decoded, facts_of, grey
from PIL import Image
from selfsup import evaluate
from selfsup.data.sources import Source, from_arrays, open_source
from selfsup.engine import drawn, images, loop, page, report
from selfsup.engine.build import Data
from selfsup.engine.page import compose

LIMIT = 5_000_000


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
SHOWN = ('images',)  # in the quick suite
LINES = [{'step': s, 'loss': 3 / s, f'term {NASTY}': float('nan') if s == 2 else s} for s in range(1, 6)]


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
    with pytest.MonkeyPatch.context() as patch:
        if variant != 'images':  # the pictures beside the page are drawn by matplotlib, in seconds
            patch.setattr(report, 'PICTURES', {})
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
    fields = ('train.epochs=2', 'data.per_class=40', 'data.batch_size=80', 'data.pad=0', 'model.widths=(16,)')
    config = small.digits_config('simclr', *fields, 'evaluate.label_counts=()')
    assert loop.train(config, str(root / 'run'), devices=1) == 0
    return root / 'run'


def read(workdir):
    return (workdir / 'report.html').read_text(encoding='utf-8')


@pytest.mark.parametrize('variant', [*(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS), 'run'])
def test_a_page_is_well_formed_and_loads_nothing(variant, reports, request):
    text = read(request.getfixturevalue('finished') if variant == 'run' else reports(variant)[0])
    found = Parsed(text)
    assert len(text.encode()) < LIMIT and text.startswith('<!DOCTYPE html>')
    assert 'http://' not in text and 'https://' not in text and not found.tags & {'link', 'iframe', 'object', 'base'}
    assert all(source.startswith('data:image/') for source in found.values('src'))
    assert "default-src 'none'" in ' '.join(found.values('content')) and 'width=device-width' in text
    ids = found.values('id')
    shown = [name for name in ids if name in page.SECTIONS]
    assert len(ids) == len(set(ids)) and shown == [name for name in page.SECTIONS if name in shown]
    assert set(page.SECTIONS) - set(shown) <= {'clusters', 'pictures'}, 'only what is of other methods is missing'
    assert [link.removeprefix('#') for link in found.values('href')] == shown
    assert all(name.isascii() and name[:2] != 'on' for _, name, _ in found.attributes), 'no handler in an attribute'
    assert 'is left out: ' not in found.shown


@pytest.mark.parametrize('variant', [pytest.param(v, marks=[pytest.mark.slow] * (v not in SHOWN)) for v in VARIANTS])
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


@pytest.mark.slow
def test_evaluate_writes_the_page_of_a_run_again(finished):
    text = read(finished)
    shown = Parsed(text).shown
    for part in (
        'view 1',
        'Loss',
        'trained encoder',
        'No control on shuffled_pairs',
        'optimizer.learning_rate',
        ' '.join(json.loads((finished / 'config.json').read_text())['command'].split()),
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
    monkeypatch.setattr(report, 'PICTURES', {})
    report.finish(tmp_path, data, Plain(config_of()), None, LINES)
    shown, told = Parsed(read(tmp_path)).shown, capsys.readouterr().err
    for line in (
        f'Spectrum is left out: ValueError: no {NASTY} room',
        'Config is left out: ZeroDivisionError: division by',
    ):
        assert line in shown and f'report.html: {line}' in told
    assert told.count('\n') == 2 and 'true ↓ predicted →' in shown and 'σ / σ₁' not in shown


@pytest.mark.slow
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


@pytest.mark.slow
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
