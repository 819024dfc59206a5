"""The evaluation of dictionaries: its numbers against formulas, its controls, and runs that have codes."""

import numpy as np
import pytest
import small
from PIL import Image
from selfsup import config, evals
from selfsup.engine import dictionary_evals, origin, pictures, unit_pictures, untrained
from selfsup.engine.run import Run
from selfsup.errors import UserError
from selfsup.evals.dictionary import purities, reconstructed, top_purity
from tolerances import FLOAT32


def coded(rows=80, dim=6, units=9, seed=0, noise=0.1):
    """Rows of two of nine atoms each, whose codes are known, and noise; the label is the larger code."""
    rng = np.random.default_rng(seed)
    atoms = np.random.default_rng(9).normal(size=(units, dim))
    codes = np.abs(rng.normal(size=(rows, units))) * (rng.permuted(np.tile(np.arange(units), (rows, 1)), axis=1) < 2)
    clean = codes @ atoms
    inputs = clean + noise * rng.normal(size=clean.shape)
    return evals.Coded(*(z.astype(np.float32) for z in (inputs, codes, clean)), codes.argmax(1) % 3)


@pytest.mark.slow
def test_numbers_of_reconstructions_and_codes():
    train, test = coded(seed=0, rows=200), coded(seed=1)
    found = evals.dictionary(train, test)
    residual = test.inputs - test.reconstructions
    r2 = 1 - residual.var(0).sum() / test.inputs.var(0).sum()
    assert found['dictionary_explained_variance'] == pytest.approx(r2, rel=1e-4)
    assert found['dictionary_normalised_error'] == pytest.approx(1 - r2, rel=0.2)
    assert found['dictionary_l0'] == 2 and found['dictionary_dead'] == 0 and found['dictionary_dense'] > 0.9
    assert found['dictionary_probe_codes'] > 0.9
    # Two directions or two random atoms say less than two of the atoms that made the rows.
    for name in ('pca', 'nmf', 'random'):
        assert 0.1 < found[f'dictionary_explained_variance_{name}'] < r2 - 0.05, (name, found)
    assert not any(name.endswith(('pca', 'nmf', 'random')) for name in evals.dictionary(train, test, controls=False))


def test_the_control_of_principal_components_is_the_projection():
    train, test = coded(seed=0).inputs, coded(seed=1).inputs
    mean = train.mean(0)
    values, axes = np.linalg.eigh(np.cov(train.T))
    best = axes[:, np.argsort(-values)[:3]]
    found = reconstructed(train, test, active=3, units=9)['pca']
    np.testing.assert_allclose(found, mean + (test - mean) @ best @ best.T, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_rows_without_a_label_are_left_out_of_the_probes_and_one_class_has_none():
    train, test = coded(seed=0), coded(seed=1)
    some = test._replace(labels=np.where(np.arange(80) < 40, test.labels, -1))
    half = evals.Coded(*(z[:40] for z in test))
    a, b = (evals.dictionary(train, part, controls=False)['dictionary_probe_codes'] for part in (some, half))
    assert a == pytest.approx(b)
    none = evals.dictionary(train._replace(labels=np.zeros(80, int)), test, controls=False)
    assert not any('probe' in name for name in none) and 'dictionary_l0' in none


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'reconstructions': np.zeros((80, 5), np.float32)}, ['test', '[80, 6]', '[80, 5]']),
        ({'codes': np.zeros((79, 9), np.float32)}, ['test', '[79, 9]']),
        ({'inputs': np.ones((80, 6), np.float32)}, ['test', 'do not vary']),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, words):
    with pytest.raises(UserError) as caught:
        evals.dictionary(coded(), coded(seed=1)._replace(**change))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize('magnitude', [True, False])
def test_the_purity_of_a_unit_is_the_share_of_the_commonest_class_of_its_top_rows(magnitude):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(60, 12)) * (rng.random((60, 12)) < 0.4)
    codes[:, 3] = 0
    codes[2:, 5] = 0  # on in two rows
    labels, shares = rng.integers(0, 4, 60), []
    for unit in np.abs(codes).T if magnitude else codes.T:
        if (unit != 0).sum() >= 5:
            top = labels[np.argsort(-unit)[:5]]
            shares.append(max((top == c).mean() for c in range(4)))
    assert len(shares) == 10
    assert top_purity(codes, labels, count=5, magnitude=magnitude) == pytest.approx(np.mean(shares))
    assert np.isnan(top_purity(codes[:, [3, 5]], labels, count=5))


def test_units_of_one_class_are_purer_than_random_directions():
    test = coded(rows=400, units=9)
    pure = test._replace(labels=np.arange(400) % 4, codes=np.eye(4, dtype=np.float32)[np.arange(400) % 4])
    found = purities(pure)
    assert found['top_purity'] == 1 and found['top_purity_directions'] < 0.8


def test_units_are_shown_that_enough_rows_and_not_too_many_turn_on():
    codes = np.zeros((200, 5), np.float32)
    codes[:10, 0], codes[:19, 1], codes[:8, 2], codes[:30, 3], codes[:15, 4] = 1, 2, 50, 9, -4
    codes[3, 4] = -7
    assert unit_pictures.shown_units(codes).tolist() == [4, 1, 0]  # 2 is on in 8 rows, 3 in 15 %
    inputs = np.random.default_rng(0).normal(size=(200, 3))
    units, control = unit_pictures.chosen_rows(codes, inputs)
    assert units.shape == (3, unit_pictures.EACH) and units[0, 0] == 3 and set(units[2]) <= set(range(10))
    assert control.shape == (unit_pictures.RANDOM, unit_pictures.EACH)


def features_file(tmp_path, **arrays):
    """A features file of 40 images, whose test rows are of every third image of the test set, and its config."""
    rng = np.random.default_rng(0)
    pictures_ = rng.integers(0, 256, (70, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / 'images.npz', train_images=pictures_[:40], train_labels=np.arange(40) % 2,
             test_images=pictures_[40:], test_labels=np.arange(30) % 2)  # fmt: skip
    index = np.arange(0, 30, 3)
    spec = f'npz:{tmp_path}/images.npz'
    given = config.load('experiments/cifar5k/simclr.py', [])
    made = {
        'train_features': rng.normal(size=(40, 4)).astype(np.float32), 'test_index': index,
        'test_features': rng.normal(size=(10, 4)).astype(np.float32), origin.FIELD: origin.described(given, spec),
    }  # fmt: skip
    np.savez(tmp_path / 'f.npz', **{k: v for k, v in {**made, **arrays}.items() if v is not None})
    fields = [f'data.source=features:{tmp_path}/f.npz', 'data.batch_size=16', 'model.widths=(8,)', 'train.epochs=1']
    return config.load('experiments/dictionaries/topk.py', fields), pictures_[40:][index], spec


def test_a_features_file_leads_back_to_its_images(tmp_path):
    resolved, expected, spec = features_file(tmp_path)
    np.testing.assert_array_equal(origin.of_rows(resolved).images(), expected)
    resolved, expected, spec = features_file(tmp_path, **{origin.FIELD: None})
    assert origin.of_rows(resolved) is None  # nothing says where they are
    np.testing.assert_array_equal(origin.of_rows(resolved, spec).images(), expected)
    assert origin.of_rows(config.load('experiments/dictionaries/topk.py', [])) is None


@pytest.mark.parametrize(
    ('arrays', 'given', 'words'),
    [
        ({'test_index': np.array([31])}, '', ['rows of 32 test images', 'holds 30', '--images']),
        ({'test_index': np.array([0.5])}, '', ['test_index', 'float64']),
        ({origin.FIELD: 'nonsense'}, '', ['origin', '--images']),
        ({origin.FIELD: '[1]'}, '', ['origin', '--images']),
        ({}, 'vectors:iris', ['vectors:iris', 'cannot be shown']),
        ({}, 'npz:nowhere.npz', ['nowhere.npz']),
    ],
)
def test_features_whose_images_are_not_there_are_refused(tmp_path, arrays, given, words):
    with pytest.raises(UserError) as caught:
        origin.of_rows(features_file(tmp_path, **arrays)[0], given)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.slow
def test_units_of_features_are_shown_by_their_images(tmp_path, monkeypatch):
    monkeypatch.setattr(unit_pictures, 'LEAST_DENSE', 1.0)  # of ten rows every unit is on in many
    monkeypatch.setattr(unit_pictures, 'EACH', 2)
    resolved, expected, _ = features_file(tmp_path)
    run = Run(resolved, devices=1)
    encoder = untrained.of_run(run)
    source = unit_pictures.images_of(encoder, run.data.test)
    part = dictionary_evals.coded(encoder, run.data.test)
    units, control = unit_pictures.chosen_rows(part.codes, part.inputs)
    assert unit_pictures.plot_units(part.codes, part.inputs, source, tmp_path / 'units.png')
    with Image.open(tmp_path / 'units.png') as picture:
        shown = np.asarray(picture)
    side = 96 + pictures.GAP
    assert shown.shape == (side * (len(units) + 1 + len(control)), 2 * side, 3)
    np.testing.assert_array_equal(shown[pictures.GAP : side : 16, pictures.GAP : side : 16], expected[units[0, 0]])
    np.testing.assert_array_equal(shown[-96::16, -96::16], expected[control[-1, -1]])


@pytest.fixture(scope='module')
def image_run():
    fields = ['model.widths=(16,)', 'method.active=3', 'train.epochs=1']
    return Run(config.load('experiments/dictionaries/images.py', fields), devices=1)


@pytest.mark.slow
def test_a_run_of_images_has_codes_reconstructions_and_pictures_of_its_atoms(image_run, tmp_path):
    encoder = untrained.of_run(image_run)
    images = image_run.data.test.arrays()[0][:8]
    part = dictionary_evals.coded(encoder, image_run.data.test)
    seen = np.asarray(image_run.prepare(images)).reshape(8, -1)
    np.testing.assert_allclose(part.inputs[:8], seen, rtol=FLOAT32)
    out = encoder.outputs(images)
    np.testing.assert_allclose(part.reconstructions[:8], out['embeddings'], rtol=1e-4, atol=1e-5)
    assert (part.codes != 0).sum(1).max() <= 3
    found = dictionary_evals.of_dictionary(encoder, {'train': image_run.data.labelled, 'test': image_run.data.test})
    assert found['dictionary_l0'] <= 3 and np.isfinite(list(found.values())).all()
    data = {'train': image_run.data.labelled, 'test': image_run.data.test}
    more = dictionary_evals.of_dictionary(encoder, data, parents='1,0,0,0,0,0,1,0,1,1')
    assert more.keys() - found.keys() == {'absorption', 'absorption_full', 'split_units', 'absorption_concepts'}
    own = np.asarray(encoder.params['dictionary']['atoms'])
    np.testing.assert_allclose(dictionary_evals.atoms(encoder, 16), own, rtol=FLOAT32, atol=1e-6)
    for words, said in (('1,0', '10 numbers'), ('1,-1', 'whole numbers from 0')):
        with pytest.raises(UserError, match=said):
            dictionary_evals.of_dictionary(encoder, data, parents=words)
    shown = pictures.reconstructions(encoder, images)
    np.testing.assert_allclose(shown['original'][..., 0], images[..., 0] / 255, atol=1e-5)
    atoms = pictures.atoms(encoder, images)
    order = np.argsort(-np.abs(out['features']).mean(0), kind='stable')
    own = np.asarray(encoder.params['dictionary']['atoms'])[order[0]]
    np.testing.assert_allclose(atoms['0'][0].ravel(), 0.5 + 0.5 * own / np.abs(own).max(), atol=1e-4)
    assert pictures.plot_atoms(encoder, images, tmp_path / 'atoms.png') and (tmp_path / 'atoms.png').is_file()


@pytest.mark.slow
def test_vectors_have_no_pictures_and_features_that_are_no_codes_are_refused():
    fields = ['model.widths=(16,)', 'train.epochs=1']
    run = Run(config.load('experiments/dictionaries/topk.py', fields), devices=1)
    encoder, rows = untrained.of_run(run), run.data.test.arrays()[0][:4]
    assert pictures.atoms(encoder, rows) is None and pictures.reconstructions(encoder, rows) is None
    other = untrained.of_run(Run(small.digits_config('simclr'), devices=1))
    assert not dictionary_evals.is_dictionary(other) and dictionary_evals.is_dictionary(encoder)
    with pytest.raises(UserError, match='--only=dictionary decodes features to inputs, which those of simclr do not'):
        dictionary_evals.of_dictionary(other, {})
