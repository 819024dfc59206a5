"""Every evaluation through the same table: exact under padding and over devices, blind to test labels, clear in its errors."""

import jax
import numpy as np
import pytest
import selfsup.evals.features
import small
from selfsup import evals, parallel
from selfsup.errors import UserError
from selfsup.evals import EVALUATIONS, Features
from selfsup.evals.suite import WITHOUT_LABELS

CLASSES = 4
# Small settings of each evaluation, all that it is asked for here.
SETTINGS = {
    'knn': {'neighbours': (1, 5, 9), 'temperatures': (0.07, 1.0)},
    'logistic': {'inverse_regularizations': (1e-3, 1e-1)},
    'sgd': {'learning_rates': (0.01, 0.1), 'epochs': 5, 'batch_size': 16},
    'low_label': {'label_counts': (2,), 'shares': (0.1,), 'draws': 2},
    'few_shot': {'ways': 3, 'shots': (2,), 'queries': 3, 'episodes': 10, 'chunk': 6},
    'clustering': {'restarts': 2, 'iterations': 10},
    'novel_classes': {'steps': 2, 'restarts': 2, 'iterations': 10},
    'retrieval': {'ks': (1, 5)},
    'label_noise': {'rates': (0.0, 0.4), 'draws': 2},
    'ranks': {},
    'widths': {'k': 5},
    'geometry': {},
    'hubs': {},
    'rescaling': {},
    'sparse_probe': {},
    'intrinsic_probe': {},
}
# What each says of how many of its predictions hit, where nothing else enters: over all constant labels they sum to 1.
HITS = {
    'knn': 'knn', 'logistic': 'linear_logistic', 'sgd': 'linear_sgd', 'low_label': 'low_label_2',
    'clustering': 'cluster_accuracy', 'novel_classes': 'novel_accuracy', 'label_noise': 'label_noise_0.4',
}  # fmt: skip
SHARDED = ('knn', 'logistic', 'sgd', 'few_shot', 'clustering', 'novel_classes', 'retrieval')


def blobs(count, seed, dim=6):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = np.random.default_rng(99).normal(size=(CLASSES, dim))
    rows = 0.8 * centres[labels] + generator.normal(size=(count, dim))
    return Features(rows.astype(np.float32), labels.astype(np.int32))


@pytest.fixture(scope='module')
def data():
    return blobs(90, 0), blobs(53, 1)


def run(name, train, test, **more):
    return EVALUATIONS[name](train, test, **{**SETTINGS[name], **more})


def relabelled(features, labels):
    return Features(features.features, np.asarray(labels, np.int32))


@small.each(EVALUATIONS, quick=('knn', 'logistic', 'clustering', 'intrinsic_probe'))
def test_test_labels_choose_nothing(data, name):
    """With random test labels every choice and every number of train stays, and predictions do not follow them."""
    train, test = data
    truth = run(name, train, test)
    random = relabelled(test, np.random.default_rng(0).integers(0, CLASSES, len(test.labels)))
    if name not in ('few_shot', 'retrieval'):  # these make queries of classes, so other labels ask other questions
        other = run(name, train, random)
        kept = [
            key for key in truth if key.startswith('chosen_') or key in ('rankme', 'alpha_req', 'held_out_accuracy')
        ]
        assert {k: truth[k] for k in kept} == {k: other[k] for k in kept}
        assert set(truth) == set(other) and all(isinstance(v, float) for v in truth.values())
    if name in HITS:
        constant = [run(name, train, relabelled(test, np.full(len(test.labels), c))) for c in range(CLASSES)]
        np.testing.assert_allclose(sum(c[HITS[name]] for c in constant), 1.0, atol=1e-6)
    again = run(name, train, test)
    assert truth == again, 'not a function of its arguments'


@pytest.mark.parametrize('name', EVALUATIONS)
def test_the_numbering_of_classes_changes_nothing(data, name):
    """Labels up to 999,999 are accepted: the cost is that of the classes there are."""
    large = [relabelled(part, 300_000 * part.labels + 17) for part in data]
    assert run(name, *large) == run(name, *data)


def test_every_evaluation_is_in_the_tables():
    assert set(SETTINGS) == set(EVALUATIONS)


SPREAD = [(name, devices) for name in SHARDED for devices in (1, 2, 8)]
QUICK = [('knn', 8), ('clustering', 8), ('retrieval', 2), ('logistic', 2)]


@pytest.mark.parametrize(
    'name, devices', [pytest.param(*c, marks=[] if c in QUICK else pytest.mark.slow) for c in SPREAD]
)
def test_devices_change_nothing(data, name, devices):
    """53 and 90 rows divide by neither 2 nor 8 in all parts, so this is also about the padding of shards."""
    alone, spread = run(name, *data), run(name, *data, mesh=parallel.data_mesh(devices))
    assert set(alone) == set(spread)
    for key in alone:
        # Sums in another order may move a decision that stands on the edge: at most one of 53, or of an episode's.
        np.testing.assert_allclose(alone[key], spread[key], atol=1 / 50, err_msg=key)


@pytest.mark.parametrize('name, chunks', [('knn', (1024, 7)), ('retrieval', (512, 7)), ('few_shot', (10, 4))])
def test_the_last_chunk_is_padded_exactly(data, name, chunks):
    cheap = {'classifier': 'centre'} if name == 'few_shot' else {}
    whole, parts = (run(name, *data, chunk=chunk, **cheap) for chunk in chunks)
    assert set(whole) == set(parts)
    for key in whole:
        np.testing.assert_allclose(whole[key], parts[key], atol=1e-6, err_msg=key)


def test_extraction_is_padded_exactly_and_compiled_once():
    images = np.random.default_rng(0).normal(size=(37, 4, 4, 1)).astype(np.float32)
    encode = jax.jit(lambda x: {'features': x.reshape(len(x), -1) ** 2})
    out = evals.extract(encode, images, batch_size=16)
    np.testing.assert_allclose(out['features'], images.reshape(37, -1) ** 2, rtol=1e-6)
    assert encode._cache_size() == 1
    for devices in (1, 2, 8):
        spread = evals.extract(encode, images, batch_size=13, mesh=parallel.data_mesh(devices))
        np.testing.assert_array_equal(out['features'], spread['features'])


def broken(part, *, rows=(), value=np.nan, **changes):
    features = part.features.copy()
    features[list(rows), 1] = value
    return Features(**{'features': features, 'labels': part.labels, **changes})


FAULTS = {
    'nan': (lambda a, b: (broken(a, rows=(3, 7)), b), 'train: 2 rows of features are not finite, the first is 3'),
    'infinite': (lambda a, b: (a, broken(b, rows=(5,), value=np.inf)), 'test: 1 rows .* the first is 5'),
    'widths': (lambda a, b: (a, broken(b, features=b.features[:, :3])), 'train has 6 features a sample and test 3'),
    'unlabelled': (lambda a, b: (broken(a, labels=a.labels - 1), b), 'train: 23 samples have no label'),
    'lengths': (lambda a, b: (broken(a, labels=a.labels[:-1]), b), r'features \[90, 6\] and labels \[89\]'),
    'empty': (lambda a, b: (Features(a.features[:0], a.labels[:0]), b), 'train: there are no features'),
}


def test_accuracy_over_width_tells_prefixes_from_principal_components():
    """Classes lie in the first two of eight numbers; the others are noise of ten times their scale."""
    generator = np.random.default_rng(0)
    scales = np.array([1.0, 1.0, *[10.0] * 6])
    parts = []
    for count in (200, 100):
        labels = np.arange(count) % CLASSES
        rows = generator.normal(size=(count, 8)) * 0.1
        rows[:, :2] += np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[labels]
        rows[:, 2:] = generator.normal(size=(count, 6))
        parts.append(Features((rows * scales).astype(np.float32), labels.astype(np.int32)))
    found = evals.widths(*parts)
    assert found.keys() == {'knn_first_2', 'knn_pca_2', 'knn_first_4', 'knn_pca_4', 'knn_whole'}
    assert found['knn_first_2'] == 1.0 > 0.8 > max(found['knn_pca_2'], found['knn_first_4'])
    rotated = evals.widths(*parts, counts=(8,))  # all of them: a rotation about the mean
    assert abs(rotated['knn_first_8'] - found['knn_whole']) < 1e-9
    with pytest.raises(UserError, match='counts=\\(9,\\) must lie between 1 and 8'):
        evals.widths(*parts, counts=(9,))


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('name', EVALUATIONS)
def test_bad_features_are_named(data, name, fault):
    if name in WITHOUT_LABELS and fault not in ('nan', 'lengths', 'empty'):
        pytest.skip('reads no labels and no test features')
    change, message = FAULTS[fault]
    with pytest.raises(UserError, match=message):
        run(name, *change(*data))


@pytest.mark.parametrize(
    'name, settings, message',
    [
        ('knn', {'neighbours': (100,)}, '100 neighbours are more than the'),
        ('knn', {'temperatures': (0.0,)}, 'positive k and temperatures'),
        (
            'low_label',
            {'label_counts': (1000,)},
            'class 0 has 23 samples, fewer than the 1000 labels per class to draw',
        ),
        ('few_shot', {'shots': (500,)}, '0 have them'),
        ('few_shot', {'classifier': 'tree'}, 'classifier must be one of'),
        ('few_shot', {'episodes': 1}, 'at least two episodes'),
        ('few_shot', {'classifier': 'transports'}, 'classifier must be one of logistic, centre, cosine, transport'),
        ('novel_classes', {'steps': 1}, 'steps=1 must be at least 2'),
        ('clustering', {'clusters': 91}, '91 clusters are more than the 90 samples'),
        ('retrieval', {'ks': (91,)}, 'depths from 1 to the 90 samples'),
        ('logistic', {'inverse_regularizations': (0.0,)}, 'must be positive'),
        ('sgd', {'learning_rates': ()}, 'must be positive'),
        ('label_noise', {'rates': (1.5,)}, r'must lie in \[0, 1\]'),
    ],
)
def test_bad_settings_are_named(data, name, settings, message):
    with pytest.raises(UserError, match=message):
        run(name, *data, **settings)


def test_one_class(data):
    """Nothing can be learned from one class; what compares neighbours or clusters has a limit instead."""
    train, test = (relabelled(part, np.zeros(len(part.labels))) for part in data)
    for name in ('logistic', 'sgd', 'low_label', 'label_noise', 'few_shot'):
        with pytest.raises(UserError, match='1 class of labels; this evaluation needs at least'):
            run(name, train, test)
    assert run('knn', train, test)['knn'] == 1.0
    assert run('retrieval', train, test)['mAP'] == pytest.approx(1.0)
    found = run('clustering', train, test)
    assert (found['cluster_nmi'], found['cluster_ari'], found['cluster_accuracy']) == (1.0, 1.0, 1.0)


def test_constant_features_give_the_share_of_one_class(data):
    train, test = (Features(np.ones_like(part.features), part.labels) for part in data)
    share = np.mean(test.labels == np.bincount(train.labels).argmax())
    assert run('logistic', train, test)['linear_logistic'] == pytest.approx(share)
    assert run('knn', train, test)['knn'] in [pytest.approx(np.mean(test.labels == c)) for c in range(CLASSES)]
    assert run('ranks', train, test)['rankme'] == pytest.approx(1.0, abs=1e-4)
    found = run('clustering', train, test)
    assert found['cluster_nmi'] == 0.0 and found['cluster_ari'] == 0.0


def test_evaluate_joins_and_names_what_it_does_not_know(data):
    found = evals.evaluate(*data, only=('knn', 'ranks'), settings={'knn': SETTINGS['knn']})
    assert found == {**run('knn', *data), **run('ranks', *data)}
    with pytest.raises(UserError, match="'knm' is no evaluation; did you mean knn"):
        evals.evaluate(*data, only=('knm',))


def test_transfer_is_the_mean_over_sets(data):
    found = evals.transfer(
        {'a': data, 'b': (data[1], data[0])}, evaluation=evals.knn_grid, number='knn', **SETTINGS['knn']
    )
    assert found['transfer_a'] == run('knn', *data)['knn']
    assert found['transfer_mean'] == pytest.approx((found['transfer_a'] + found['transfer_b']) / 2)


def test_held_out_part_has_every_class_and_leaves_every_class():
    labels = np.array([0] * 30 + [1] * 2 + [2])
    mask = selfsup.evals.features.held_out(labels, share=0.1)
    assert np.bincount(labels[mask], minlength=3).tolist() == [3, 1, 0]
    np.testing.assert_array_equal(mask, selfsup.evals.features.held_out(labels, share=0.1))
    with pytest.raises(UserError, match='every class of train has one sample only'):
        selfsup.evals.features.held_out(np.arange(5))
