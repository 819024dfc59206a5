"""The evaluation of dictionaries: its numbers against formulas, its controls, and runs that have codes."""

import numpy as np
import pytest
import small
from selfsup import config, evals
from selfsup.engine import dictionary_evals, pictures, untrained
from selfsup.engine.run import Run
from selfsup.errors import UserError
from selfsup.evals.dictionary import reconstructed
from tolerances import FLOAT32


def coded(rows=80, dim=6, units=9, seed=0, noise=0.1):
    """Rows of two of nine atoms each, whose codes are known, and noise; the label is the larger code."""
    rng = np.random.default_rng(seed)
    atoms = np.random.default_rng(9).normal(size=(units, dim))
    codes = np.abs(rng.normal(size=(rows, units))) * (rng.permuted(np.tile(np.arange(units), (rows, 1)), axis=1) < 2)
    clean = codes @ atoms
    inputs = clean + noise * rng.normal(size=clean.shape)
    return evals.Coded(*(z.astype(np.float32) for z in (inputs, codes, clean)), codes.argmax(1) % 3)


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
