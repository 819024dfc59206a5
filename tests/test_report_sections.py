"""The sections of `report.html` against independent computations, and the small parts that they are made of."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from made_pages import NASTY, Parsed, Plain, config_of, decoded, facts_of, grey
from PIL import Image
from selfsup import config as config_module
from selfsup import parallel
from selfsup.engine import build, report
from selfsup.engine.build import Data
from selfsup.engine.controls import pair_sources
from selfsup.engine.gradient import VIEWS
from selfsup.engine.page import (
    clusters,
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
from sklearn.linear_model import LogisticRegression


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


@pytest.mark.parametrize('classes', [3, 0])
def test_clusters_are_shown_with_their_size_classes_and_surest_members(classes):
    """Of three clusters by brightness, one of which is empty; with and without labels."""
    source = grey(30, classes)
    encoder = Plain(config_of())
    twice = 2 * np.median(encoder(source.images())[:, 0])

    def assign(params, extra, outputs):
        bright = outputs['features'][:, :1]
        return jnp.concatenate([bright, twice - bright, 0 * bright - 9], axis=1)

    encoder.params = encoder.extra = {}
    encoder.method = encoder.method._replace(assign=assign)
    encoded = report.representations(Data(source, source, source, source), encoder, None)
    page_facts = facts_of(Data(source, source, source, source), encoder, encoded)
    found = clusters.clusters(page_facts)
    bright = encoder(source.images())[:, 0]
    own = np.where(bright >= twice - bright, 0, 1)
    assert found.count == 3 and found.spread['used'] == 2
    assert [one.number for one in found.found] == np.argsort(-np.bincount(own), kind='stable').tolist()
    for one in found.found:
        mine = np.flatnonzero(own == one.number)
        assert one.size == len(mine) and one.share == pytest.approx(len(mine) / 30)
        surest = mine[np.argsort(-(bright if one.number == 0 else -bright)[mine], kind='stable')][:10]
        pictures = [np.asarray(picture).tolist() for picture, _ in one.members]
        assert pictures == [source.images()[i][..., 0].tolist() for i in surest]
        if classes:
            values, counts = np.unique(source.labels[mine], return_counts=True)
            most = values[np.argmax(counts)]
            assert one.classes[0] == (source.class_names[most], pytest.approx(counts.max() / len(mine)))
    text = Parsed(clusters.clusters_html(found))
    assert '2 of 3 are used' in text.shown and ('NMI' in text.shown) == bool(classes)
    assert len(text.values('src')) == sum(len(one.members) for one in found.found)
    encoder.method = encoder.method._replace(assign=None)
    with pytest.raises(facts.OfOtherMethods, match='The method vicreg sorts nothing into clusters'):
        clusters.clusters(page_facts)


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


def test_confusion_counts():
    source = grey(6, 3)
    data = Data(source, source, source, source)
    probe = facts.Probe(*(np.array(a) for a in ([0, 1, 2, 3, 4], [0, 0, 1, 2, 2], [0, 1, 1, 1, 1], [], [])), 9)
    found = facts_of(data, Plain(config_of()))
    found.__dict__['probe'] = probe
    result = confusion.confusion(found)
    assert result.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 2, 0]]
    assert result.accuracy == 0.4 and (result.rows, result.fitted) == (5, 9)
    assert result.pairs == [(f'2{NASTY}', f'1{NASTY}', 2, 1.0), (f'0{NASTY}', f'1{NASTY}', 1, 0.5)]


COMPARED = {
    'above': ({'trained': 0.9, 'pixels': 0.5}, 'is above raw pixels (0.500)'),
    'below': ({'trained': 0.3, 'untrained': 0.5}, 'is below the untrained encoder (0.500)'),
    # Two standard errors of two shares of one half of 400 rows are 0.0707.
    'close': ({'trained': 0.57, 'pixels': 0.5}, 'is not distinguishable from raw pixels (0.500)'),
    'both': ({'trained': 0.58, 'untrained': 0.5, 'pixels': 0.6}, 'above the untrained encoder (0.500) and not disting'),
    'alike': (
        {'trained': 0.9, 'untrained': 0.5, 'pixels': 0.6},
        'above the untrained encoder (0.500) and raw pixels (0',
    ),
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
        saved = json.loads(config_module.to_json(config))
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
