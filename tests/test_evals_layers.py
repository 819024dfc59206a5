"""Tables over the layers of an encoder, and evaluations of hubs, of the geometry of features and of two encoders."""

import numpy as np
import pytest
import small
from selfsup import diagnostics, evals, evaluate, models
from selfsup.data.sources import from_arrays
from selfsup.engine import layers, plots, view_evals
from selfsup.engine.encoder import Encoder
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.hubs import majority, neighbours
from selfsup.evals.layers import leading
from selfsup.methods.base import backbone

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3


def cloud(count=120, dim=6, spread=0.3, seed=0):
    """Three classes along the first three axes, and noise."""
    rng = np.random.default_rng(seed)
    rows = 2 * np.eye(3, dim)[np.arange(count) % 3] + spread * rng.normal(size=(count, dim))
    return Features(rows.astype(np.float32), (np.arange(count) % 3).astype(np.int32))


def rotation(dim, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0].astype(np.float32)


@pytest.fixture(scope='module')
def row():
    train, test = cloud(), cloud(seed=1)
    pixels = (train.features @ rotation(6)).astype(np.float32)
    return evals.layers([('one', train, test)], last=train.features, pixels=pixels)[0]


@pytest.mark.slow
def test_a_layer_that_is_the_last_one_agrees_with_it(row):
    assert row['layer'] == 'one' and row['dim'] == 6 and row['samples'] == 120
    assert row['linear'] == row['knn'] == 1.0
    # 120 rows give 6 components, so pixels that are a rotation correlate perfectly; shuffled rows by chance.
    assert row['cka_last'] == pytest.approx(1, abs=1e-5) and row['cca_pixels'] == pytest.approx(1, abs=1e-4)
    assert row['cca_pixels_chance'] < 0.4 < 0.9 < row['cca_labels'] and row['cca_labels_chance'] < 0.4


@pytest.mark.slow
def test_numbers_of_a_layer_are_those_of_the_diagnostics(row):
    z = cloud().features
    assert row['two_nn'] == pytest.approx(float(diagnostics.two_nn(z)), rel=1e-4)
    assert row['lid_mle'] == pytest.approx(float(diagnostics.lid_mle(z)), rel=1e-4)
    assert row['hub_skewness'] == pytest.approx(float(diagnostics.hubness(z, metric='cosine')['skewness']), abs=1e-4)


def test_components_are_scores_on_principal_axes():
    from sklearn.decomposition import PCA

    z = cloud().features
    expected = PCA(3, svd_solver='full').fit_transform(z.astype(np.float64))
    np.testing.assert_allclose(np.abs(leading(z, 3)), np.abs(expected), atol=1e-4)


def test_layers_are_read_in_groups_that_memory_holds():
    widths = {'a': 3, 'b': 4, 'c': 8, 'd': 2}
    assert list(layers.groups(widths, 10, most=70)) == [('a', 'b'), ('c',), ('d',)]
    assert list(layers.groups(widths, 10, most=170)) == [('a', 'b', 'c', 'd')]
    assert list(layers.groups(widths, 10, most=1)) == [('a',), ('b',), ('c',), ('d',)]


def test_large_images_are_averaged_before_they_are_compared():
    image = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None, None] * np.ones((2, 64, 48, 1), np.float32)
    found = np.asarray(layers.pixel_rows(image)).reshape(2, 32, 24)
    np.testing.assert_allclose(found[0, 1:-1, 0], np.linspace(0, 1, 64).reshape(32, 2).mean(axis=1)[1:-1], atol=1e-5)
    assert layers.pixel_rows(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 64)


@pytest.fixture(scope='module')
def encoder():
    """An untrained convnet on digits, as an encoder of a run."""
    config = small.digits_config('simclr', 'model.widths=(4, 6)', 'evaluate.batch_size=64')
    module = models.ConvNet(widths=(4, 6))
    import jax

    variables = module.init(jax.random.key(0), small.images(2))
    extra = {'batch_stats': {'encoder': variables['batch_stats']}}
    return Encoder(config, backbone(module), {'encoder': variables['params']}, extra, 0, channels=1)


@pytest.fixture(scope='module')
def parts():
    images = (255 * np.asarray(small.images(100))).astype(np.uint8)
    labels = np.arange(100) % 2
    names = ('even', 'odd')
    return {
        'train': from_arrays('train', images[:60], labels[:60], names),
        'test': from_arrays('test', images[60:], labels[60:], names),
    }


@pytest.mark.slow
def test_the_table_of_an_encoder_has_its_layers_between_pixels_and_features(encoder, parts, monkeypatch, tmp_path):
    monkeypatch.setattr(layers, 'HELD_VALUES', 100 * 5)  # two passes
    rows = layers.of_layers(encoder, parts, 'all')
    assert [row['layer'] for row in rows] == ['pixels', 'layer0', 'layer1', 'features']
    assert [row['dim'] for row in rows] == [64, 4, 6, 6]
    # The mean over places of the last map is the features.
    last, end = ({k: v for k, v in row.items() if k != 'layer'} for row in rows[2:])
    assert last == pytest.approx(end, rel=1e-3, abs=1e-3) and end['cka_last'] == pytest.approx(1, abs=1e-5)
    plots.plot_layers(rows, 'a_title with $', tmp_path / 'layers.png')
    assert (tmp_path / 'layers.png').stat().st_size > 10_000
    inputs = parts['test'].images()[:3]
    behind = layers.rest(encoder, 'layer0', inputs)
    found = layers.activations(encoder, ['layer0'])(inputs)['layer0']
    np.testing.assert_allclose(behind(found), encoder(inputs), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="'layer2' is no tap of the encoder; did you mean layer"):
        layers.of_layers(encoder, parts, 'layer0,layer2')


def test_reductions_of_hubs_choose_the_neighbours_of_their_distances():
    bank, query = cloud(40).features, cloud(12, seed=3).features
    b, q = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (bank, query))
    between, own = 1 - q @ b.T, 1 - b @ b.T
    np.fill_diagonal(own, np.inf)
    mine = np.sort(between, axis=1)[:, :5].mean(axis=1)
    theirs = np.sort(own, axis=1)[:, :5].mean(axis=1)
    expected = {
        'none': between,
        'nicdm': between / np.sqrt(mine[:, None] * theirs[None]),
        'csls': 2 * between - mine[:, None] - theirs[None],
    }
    for name, distances in expected.items():
        found = neighbours(bank, query, k=4, reduction=name)
        np.testing.assert_array_equal(found, np.argsort(distances, axis=1, kind='stable')[:, :4], err_msg=name)


def test_a_majority_of_neighbours_decides_and_ties_go_to_the_smaller_class():
    labels = np.array([5, 7, 7, 2])
    assert majority(labels, np.array([[0, 1, 2], [0, 1, 3], [3, 0, 0]])).tolist() == [7, 2, 5]
    train, test = cloud(), cloud(30, seed=2)
    assert (
        evals.knn(train, test, k=5, reduction='none') == evals.knn(train, test, k=5, reduction='nicdm') == {'knn': 1.0}
    )


@pytest.mark.slow
def test_every_reduction_lowers_the_hubness_of_a_wide_cloud():
    rng = np.random.default_rng(0)
    train, test = (Features(rng.normal(size=(n, 200)).astype(np.float32), np.arange(n) % 2) for n in (600, 400))
    found = evals.evaluate(train, test, only=('hubs',), settings={'hubs': {'metric': 'euclidean'}})
    for name in ('dissim_local', 'local_scaling', 'mutual_proximity', 'nicdm'):
        assert found[f'hubs_skewness_{name}'] < found['hubs_skewness_none'] - 1, name
    assert 'hubs_knn_csls' not in found


@pytest.mark.slow
def test_geometry_is_that_of_the_diagnostics_with_and_without_labels():
    train = cloud()
    found = evals.geometry(train, train)
    assert found['geometry_uniformity'] == pytest.approx(float(diagnostics.uniformity(train.features)), rel=1e-4)
    assert found['geometry_tolerance'] == pytest.approx(
        float(diagnostics.tolerance(train.features, train.labels)), rel=1e-4
    )
    assert found['geometry_nc1'] < 1 and found['geometry_hub_antihubs_cosine'] < 1
    bare = evals.geometry(Features(train.features, np.full(120, -1, np.int32)), train)
    assert set(found) - set(bare) == {f'geometry_{name}' for name in ('tolerance', 'nc1', 'nc2_norm', 'nc2_angle')}


@pytest.mark.slow
def test_a_rotated_encoder_is_read_through_relative_representations_and_not_as_it_is():
    train, test = cloud(900, spread=0.8), cloud(300, spread=0.8, seed=1)
    turn = rotation(6, seed=4)
    turned = [Features(3 * part.features @ turn, part.labels) for part in (train, test)]
    found = evals.relative(train, test, *turned)
    assert found['relative_zero_shot'] == pytest.approx(found['relative_own'], abs=1e-6)
    assert found['relative_stitched'] == pytest.approx(found['relative_own_absolute'], abs=0.01)
    assert found['relative_absolute'] < found['relative_stitched'] - 0.2
    for name in ('stitch_r2', 'stitch_r2_back', 'cka', 'cka_train', 'latent_cosine', 'neighbour_recall'):
        assert found[f'relative_{name}'] > 0.99, name
    assert found['relative_procrustes'] < 1e-4
    with pytest.raises(UserError, match='test: 300 and 299 samples; both encoders must have seen the same'):
        evals.relative(train, test, turned[0], Features(turned[1].features[:-1], test.labels[:-1]))


def test_memorisation_needs_the_images_of_a_run_and_views_the_same_pixels(encoder):
    import copy

    other = copy.copy(encoder)
    other.config = encoder.config.copy_and_resolve_references()
    with other.config.unlocked():
        other.config.augment.mean = (0.9,)
    with pytest.raises(UserError, match=r'both encoders must see the same views, and augment.mean is \(0'):
        view_evals.of_memorisation(encoder, other)
    with other.config.unlocked():
        other.config.data.source = ''
    with pytest.raises(UserError, match='an imported one names none'):
        view_evals.of_memorisation(other, encoder)


@pytest.mark.slow
def test_an_encoder_has_memorised_nothing_more_than_itself(encoder, parts, monkeypatch):
    found = view_evals.of_memorisation(encoder, encoder)
    assert found['memorisation_train'] == found['memorisation_test'] == found['memorisation_gap'] == 0
    views = view_evals.of_views(encoder, parts)
    assert views['views_relative_alignment'] > 0 and 1 <= views['views_lidar'] <= 6


@pytest.mark.parametrize(
    'options, message',
    [
        (['--only=relative'], '--only=relative compares two encoders; name the other by --with'),
        (['--only=memorisation'], 'needs --workdir, not --features'),
        (
            ['--only=knn', '--with=FILE'],
            '--with is read by --only=relative and --only=memorisation and --only=concatenated, and not by knn',
        ),
        (['--with=FILE'], '--with is read by --only=relative'),
        (['--layers=all'], '--layers is a table of its own'),
        (['--only=relative', '--with=OTHER'], 'test: sample 1 has label 1 and 0; both encoders must have seen'),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    rows = RNG.normal(size=(6, 3)).astype(np.float32)
    for name, labels in (('FILE', np.arange(6) % 2), ('OTHER', np.zeros(6, int))):
        train = np.arange(6) % 2
        arrays = {'train_features': rows, 'train_labels': train, 'test_features': rows, 'test_labels': labels}
        np.savez(tmp_path / f'{name}.npz', **arrays)
    given = [
        o.replace('FILE', str(tmp_path / 'FILE.npz')).replace('OTHER', str(tmp_path / 'OTHER.npz')) for o in options
    ]
    with pytest.raises(UserError, match=message):
        evaluate.main(['--features', str(tmp_path / 'FILE.npz'), *given])
