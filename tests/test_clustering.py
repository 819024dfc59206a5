"""Methods of clusters: what they do before an epoch, images from which views are drawn, and what is said of clusters."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import config, diagnostics, evals, evaluate, methods, parallel, train
from selfsup.engine import controls
from selfsup.engine.assignments import assigned
from selfsup.engine.gradient import make_gradient
from selfsup.engine.monitor import scalars
from selfsup.engine.run import Run
from selfsup.engine.step import make_dispatch
from selfsup.errors import UserError
from selfsup.evals.clustering import matched
from selfsup.files import read_jsonl
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from test_gradient import ENCODER, close, noisy, rows
from tolerances import FLOAT32

KEY = jax.random.key(3)
ROWS = 20  # of the data set, of which a batch has 16


def begun(name, **changes):
    """A method for 20 images, its first state, and rows of a batch that are not the first of them."""
    method = small.make(name, data_size=ROWS, **changes)
    rows = {**small.batch(), 'index': jnp.arange(16)[::-1] + 3}
    return method, rows, *small.initial(method, rows)


def refreshed(method, params, extra, features, key=KEY):
    reset = []

    @jax.jit
    def update(params, extra, key, features):
        *state, names = method.refresh.update(params, extra, key, features)
        reset.append(names)
        return state

    return *update(params, extra, key, features), reset[0]


def features(clusters=5, dim=16, seed=0):
    """Rows of 20 images around so many centres, and their clusters."""
    rng = np.random.default_rng(seed)
    own = np.arange(ROWS) % clusters
    return (5 * rng.normal(size=(clusters, dim))[own] + 0.1 * rng.normal(size=(ROWS, dim))).astype(np.float32), own


def same_partition(a, b):
    return normalized_mutual_info_score(a, b) > 0.999


def test_deepcluster_clusters_all_images_and_begins_a_new_head():
    method, _, params, extra = begun('deepcluster', clusters=5, components=4)
    z, own = features()
    for seed in range(8):  # random rows may begin twice in a clump
        new, state, reset = refreshed(method, params, extra, z, jax.random.key(seed))
        held = np.asarray(state['per_example']['clusters'][:, 0])
        if same_partition(held[:ROWS], own):
            break
    assert same_partition(held[:ROWS], own) and (held[ROWS:] == -1).all()
    assert reset == ('head',) and float(jnp.abs(new['head']['kernel'] - params['head']['kernel']).max()) > 0
    assert np.std(new['head']['kernel']) == pytest.approx(0.01, rel=0.2) and not new['head']['bias'].any()
    assert small.tree_distance(new['encoder'], params['encoder']) == 0
    np.testing.assert_array_equal(state['sizes'], np.bincount(held[:ROWS], minlength=5))
    scores = method.assign(new, state, {'features': jnp.asarray(z)})
    np.testing.assert_array_equal(jnp.argmax(scores, axis=1), held[:ROWS])


def test_deepcluster_weighs_an_image_by_the_inverse_of_its_clusters_size():
    method, rows, params, extra = begun('deepcluster', clusters=3)
    own = np.zeros(256, np.int32)
    own[[5, 6, 9]] = 1  # 17 images of cluster 0, three of cluster 1
    held = {**extra, 'per_example': {'clusters': jnp.asarray(own)[:, None]}, 'sizes': jnp.asarray([17.0, 3.0, 0.0])}
    outputs, new = small.embed(method, params, held, rows, KEY)
    value, _ = small.criterion(method, params, outputs, new, rows, KEY)
    index, total, weight = np.asarray(rows['index']), 0.0, 0.0
    for z in outputs['features']:
        logits = np.asarray(z @ params['head']['kernel'][0] + params['head']['bias'], np.float64)
        for row, i in zip(logits, index, strict=True):
            w = 1 / (17, 3)[own[i]]
            total += w * (np.log(np.exp(row).sum()) - row[own[i]])
            weight += w
    np.testing.assert_allclose(value, total / weight, rtol=FLOAT32)


def test_deepercluster_clusters_each_supercluster_by_itself_and_begins_new_heads():
    method, _, params, extra = begun('deepercluster', superclusters=2, clusters=3, components=4)
    z, _ = features(clusters=6)
    new, state, reset = refreshed(method, params, extra, z)
    held = np.asarray(state['per_example']['clusters'])
    above, below = held[:ROWS].T
    assert (held[ROWS:] == -1).all() and set(above) == {0, 1} and reset == ('head',)
    for number in range(2):
        np.testing.assert_array_equal(state['sizes'][number], np.bincount(below[above == number], minlength=3))
    fit = diagnostics.fit_whitening(z, kind='pca', truncate=1e-6)
    white = (z - np.asarray(fit.mean)) @ np.asarray(fit.matrix)[:, :4]
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    apart = [((white - centre) ** 2).sum(1) for centre in np.asarray(state['super_prototypes'])]
    np.testing.assert_array_equal(above, np.argmin(apart, axis=0))
    for row, a, b in zip(white, above, below, strict=True):  # the nearest centre of its own supercluster
        assert np.argmin(((row - np.asarray(state['prototypes'][a])) ** 2).sum(1)) == b
    scores = method.assign(new, state, {'features': jnp.asarray(z)})
    np.testing.assert_array_equal(jnp.argmax(scores, axis=1), 3 * above + below)
    assert new['head']['upper']['kernel'].shape == (1, 16, 8) and new['head']['lower']['kernel'].shape == (8, 16, 3)
    assert small.tree_distance(new['head'], params['head']) > 0.1
    assert small.tree_distance(new['encoder'], params['encoder']) == 0


def test_deepercluster_asks_the_classifier_of_the_turn_and_the_supercluster():
    """By loops over rows: two cross-entropies, an image weighing the inverse of its cluster's size."""
    method, rows, params, extra = begun('deepercluster', superclusters=2, clusters=3)
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 2, 256), rng.integers(0, 3, 256)
    above[4] = below[4] = -1  # an image that no clustering has seen
    sizes = np.asarray([[4.0, 2.0, 3.0], [5.0, 1.0, 5.0]])
    held = {
        **extra,
        'per_example': {'clusters': jnp.asarray(np.stack([above, below], axis=1))},
        'sizes': jnp.asarray(sizes, jnp.float32),
    }
    outputs, new = small.embed(method, params, held, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
    turns = np.argmax(rows['view_params'][0]['turns']['answer'][:, 0], axis=1)
    z = np.maximum(np.asarray(outputs['parts'][:, 0], np.float64), 0)
    heads = jax.tree.map(np.asarray, params['head'])
    terms, weights = np.zeros(2), 0.0
    for row, i, turn in zip(z, np.asarray(rows['index']), turns, strict=True):
        if above[i] < 0:
            continue
        own = 4 * above[i] + turn
        logits = row @ heads['upper']['kernel'][0] + heads['upper']['bias'][0]
        inner = row @ heads['lower']['kernel'][own] + heads['lower']['bias'][own]
        w = 1 / sizes[above[i], below[i]]
        found = [np.log(np.exp(x).sum()) - x[k] for x, k in ((logits, own), (inner, below[i]))]
        terms, weights = terms + w * np.asarray(found), weights + w
    np.testing.assert_allclose(value, terms.sum() / weights, rtol=FLOAT32)
    np.testing.assert_allclose([metrics['upper'], metrics['lower']], terms / weights, rtol=FLOAT32)
    moved = {**outputs, 'targets': jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), outputs['targets'])}
    assert abs(float(small.criterion(method, params, moved, new, rows, KEY)[0] - value)) > 1e-4
    with pytest.raises(UserError, match="deepercluster needs a view with the operation 'turns'"):
        method.embed(params, extra, {**rows, 'view_params': ({}, {})}, KEY)


def test_sela_labels_the_whole_set_evenly_in_every_head():
    method, _, params, extra = begun('sela', clusters=4, heads=3)
    z, _ = features()
    _, state, reset = refreshed(method, params, extra, z)
    held = np.asarray(state['per_example']['clusters'])
    assert held.shape == (256, 3) and (held[ROWS:] == -1).all() and reset == ()
    assert all(np.abs(np.bincount(own, minlength=4) - 5).max() <= 1 for own in held[:ROWS].T)
    assert float(state['changed']) == 1
    _, again, _ = refreshed(method, params, state, z)
    assert float(again['changed']) == 0


def test_scans_neighbours_are_the_nearest_by_cosine_and_each_image_itself():
    method, rows, params, extra = begun('scan', neighbours=3)
    z, own = features()
    _, state, _ = refreshed(method, params, extra, z)
    held = np.asarray(state['per_example']['neighbours'])[:ROWS]
    np.testing.assert_array_equal(held[:, 0], np.arange(ROWS))
    assert (own[held] == own[:, None]).all()
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(ROWS)
    np.testing.assert_array_equal(np.sort(held[:, 1:]), np.sort(np.argsort(-cosines, axis=1)[:, :3]))
    drawn = np.stack([method.companions(state, rows['index'], jax.random.key(s)) for s in range(40)])
    for place, i in enumerate(np.asarray(rows['index'])):
        assert set(drawn[:, place].tolist()) == set(held[i].tolist())
    assert method.refresh.every_epochs == 0


def test_scan_asks_the_head_of_least_loss():
    method, _, params, extra = begun('scan', heads=2, clusters=4)
    z = jnp.asarray(features()[0])
    for best in (0, 1):
        held = {**extra, 'head_loss': jnp.asarray([1.0, 1.0]).at[best].set(-1.0)}
        expected = z @ params['head']['kernel'][best] + params['head']['bias'][best][None]
        np.testing.assert_allclose(method.assign(params, held, {'features': z}), expected, rtol=FLOAT32, atol=1e-5)


@pytest.mark.slow
def test_pcl_adds_prototypes_of_the_momentum_network_from_its_step_on():
    method, rows, params, extra = begun('pcl', prototypes=(4, 6), prototype_start=5)
    z = features(dim=16)[0]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    _, state, _ = refreshed(method, params, extra, z)
    assert [c.shape for c in state['prototypes']] == [(4, 16), (6, 16)]
    assert all(float(jnp.mean(t)) == pytest.approx(0.2, rel=1e-3) for t in state['temperatures'])
    outputs, state = small.embed(method, params, state, rows, KEY)
    terms = []
    for step in (4, 5):
        value, (_, metrics) = small.criterion(method, params, outputs, state, {**rows, 'step': jnp.asarray(step)}, KEY)
        terms.append(float(value))
    assert terms[0] == pytest.approx(float(metrics['instance']))
    assert terms[1] == pytest.approx(float(metrics['instance'] + metrics['prototype']), rel=1e-6)
    moved = {**extra, 'target': jax.tree.map(lambda x: 0.5 * x, extra['target'])}
    kept = method.refresh.encode(params, moved, rows['views'][0])
    assert not np.allclose(kept, method.refresh.encode(params, extra, rows['views'][0]), atol=1e-3)
    np.testing.assert_allclose(jnp.linalg.norm(kept, axis=1), 1, rtol=FLOAT32)


def test_views_but_the_first_are_drawn_from_companions():
    """Images are their own numbers; the control draws them from companions of other images."""
    images = jnp.arange(8, dtype=jnp.uint8)[:, None, None, None] * jnp.ones((1, 2, 2, 1), jnp.uint8)
    neighbours = jnp.asarray([4, 5, 6, 7, 0, 1, 2, 3])
    seen = []

    def step(state, rows, seed):
        seen.append(rows)
        return state, {'loss': jnp.zeros(())}

    def companions(extra, index, key):
        return extra['neighbours'][index]

    class State:
        step, extra = jnp.zeros((), jnp.int32), {'neighbours': neighbours}

    dispatch = make_dispatch(step, resident=True, companions=companions).__wrapped__
    dispatch(State(), {'input': images}, jnp.asarray([[2, 5, 7]]), 0)
    rows = seen[0]
    np.testing.assert_array_equal(rows['companion'][:, 0, 0, 0], [6, 1, 3])
    for control, second in (('none', [6, 1, 3]), ('shuffled_pairs', [3, 6, 1])):
        inputs, sources = controls.with_companions(rows, controls.pair_sources(control, 3, 2))
        assert [np.asarray(inputs[s][:, 0, 0, 0]).tolist() for s in sources] == [[2, 5, 7], second]


@pytest.mark.slow
def test_companions_are_exact_over_microbatches(x64):
    """Images and companions stand side by side, and every piece finds its own."""
    method = methods.METHODS['scan'](ENCODER, **small.KEYWORDS['scan'])
    batch = rows()
    inputs, sources = controls.with_companions({**batch, 'companion': batch['input'][::-1]}, [None, None])
    seen, _ = noisy(KEY, inputs, batch['index'], sources)
    state = small.started(method, {'views': seen, 'index': batch['index'], 'step': batch['step']})
    state = jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    found = [
        jax.jit(make_gradient(method, noisy, microbatches=count))(*state, {**batch, 'input': inputs}, KEY, sources)
        for count in (4, 1)
    ]
    close(*found)


REFUSED = {
    'deepcluster': ({'clusters': 21}, 'deepcluster cannot make method.clusters=21 clusters of 20 images'),
    'deepercluster': (
        {'superclusters': 3, 'clusters': 7},
        'deepercluster cannot make method.superclusters=3 times method.clusters=7 clusters of 20 images',
    ),
    'jule': ({'clusters': 21}, 'jule cannot make method.clusters=21 clusters of 20 images'),
    'sela': ({'clusters': 21}, 'sela cannot make method.clusters=21 clusters of 20 images'),
    'scan': ({'clusters': 21}, 'scan cannot make method.clusters=21 clusters of 20 images'),
    'unicom': ({'clusters': 21}, 'unicom cannot make method.clusters=21 clusters of 20 images'),
    'pcl': ({'prototypes': (4, 21)}, r'pcl cannot make method.prototypes=\(4, 21\) clusters of 20 images'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_more_clusters_than_images_are_refused(name):
    fields, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        small.make(name, data_size=ROWS, **fields)


def test_more_neighbours_than_images_and_images_that_are_streamed_are_refused():
    with pytest.raises(UserError, match='scan cannot find method.neighbours=20 neighbours among 20 images'):
        small.make('scan', data_size=ROWS, neighbours=20)
    fields = ['model.widths=(8, 16)', 'data.feed=streaming', 'init_from=']
    with pytest.raises(UserError, match='scan draws views from other images of the set.*data.feed=resident'):
        Run(config.load('experiments/continued/digits_scan.py', fields), devices=1)


def test_agreement_is_scikit_learns_and_empty_clusters_and_classes_are_none():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, 5, 60), rng.integers(0, 3, 60)
    labels[labels == 1] = 4  # classes 1 and 3 are empty, and so is cluster 5
    table = np.zeros((6, 5))
    np.add.at(table, (clusters, labels), 1)
    found = evals.agreement(table)
    assert found['nmi'] == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert found['ari'] == pytest.approx(adjusted_rand_score(labels, clusters))
    names = matched(clusters, labels, count=6, classes=5)
    assert found['accuracy_matched'] == pytest.approx(np.mean(names[clusters] == labels))
    perfect = evals.agreement(np.diag([3, 4, 5]))
    assert perfect == {'accuracy_matched': 1.0, 'nmi': pytest.approx(1.0), 'ari': 1.0}
    assert evals.sizes(np.asarray([4, 4, 0, 4])) == {'used': 3.0, 'largest': 1 / 3, 'perplexity': pytest.approx(3.0)}
    assert evals.sizes(np.asarray([0, 7])) == {'used': 1.0, 'largest': 1.0, 'perplexity': 1.0}


def test_clusters_of_a_method_are_named_on_train_and_scored_on_test():
    ours, labels = np.asarray([0, 0, 1, 1, 2]), np.asarray([3, 3, 5, 5, -1])
    theirs, test_labels = np.asarray([0, 1, 1, 2]), np.asarray([3, 5, 3, -1])
    found = evals.assigned(ours, labels, theirs, test_labels, count=3)
    assert found['assigned_accuracy'] == pytest.approx(2 / 3) == found['assigned_accuracy_matched']
    assert found['assigned_used'] == 3 and found['assigned_largest'] == 0.5
    alone = evals.assigned(ours, np.full(5, -1), theirs, test_labels, count=3)
    assert set(alone) == {'assigned_used', 'assigned_largest', 'assigned_perplexity'}


def test_a_measurement_says_how_clusters_fit_the_classes():
    table = np.asarray([[3.0, 0, 1], [0, 4, 0], [0, 0, 2]])
    found = scalars({'rankme': np.float32(2.0), 'clusters': table})
    assert found['assigned_accuracy_matched'] == 1 and found['assigned_used'] == 3 and found['rankme'] == 2
    assert found['assigned_largest'] == pytest.approx(0.4)
    unknown = scalars({'clusters': np.asarray([[0.0, 3], [0, 4]])})
    assert set(unknown) == {'assigned_used', 'assigned_largest', 'assigned_perplexity'}
    assert scalars({'clusters': np.full((2, 2), np.nan), 'rank': np.nan}).keys() == {'rank'}


def test_rows_are_assigned_by_the_methods_scores():
    class Plain:
        params, extra = {'centres': jnp.eye(3)}, {}

        class method:
            @staticmethod
            def assign(params, extra, outputs):
                return outputs['features'] @ params['centres'] + outputs['embeddings'].sum(axis=1, keepdims=True)

    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    found = assigned(Plain(), {'features': rows, 'embeddings': np.ones((7, 2), np.float32)})
    np.testing.assert_array_equal(found.clusters, rows.argmax(axis=1))
    np.testing.assert_allclose(found.scores, rows.max(axis=1) + 2, rtol=FLOAT32)
    assert found.count == 3


SMALL = ['model.widths=(8, 16)', 'train.epochs=2', 'data.batch_size=320', 'evaluate.label_draws=2', 'checkpoint.keep=1']


@pytest.fixture
def one_device(monkeypatch):
    plain = parallel.data_mesh
    monkeypatch.setattr(parallel, 'data_mesh', lambda devices=None: plain(devices or 1))


def trained(config, place, *fields):
    return train.main([config, f'--workdir={place}', *(f'--config.{field}' for field in (*SMALL, *fields))])


@pytest.mark.slow
def test_scan_goes_from_a_run_to_clusters_and_to_self_labels(tmp_path, one_device):
    """The whole chain on small networks; each step says what it found."""
    first, second, third = (tmp_path / name for name in ('simclr', 'scan', 'self_label'))
    assert trained('digits/simclr', first, 'projector.widths=(32, 16)') == 0
    with pytest.raises(UserError, match='none'):
        trained('continued/digits_scan', tmp_path / 'x', f'init_from={tmp_path / "none"}')
    assert trained('continued/digits_scan', second, f'init_from={first}') == 0
    lines = read_jsonl(second / 'metrics.jsonl')
    assert any('assigned_accuracy_matched' in line for line in lines)
    assert any({'consistency', 'entropy'} <= set(line) for line in lines)
    page = (second / 'report.html').read_text()
    assert 'Clusters of the method itself' in page and 'members of largest score' in page
    assert 'id="clusters"' in page and 'id="clusters"' not in (first / 'report.html').read_text()
    assert trained('continued/digits_scan_self_label', third, f'init_from={second}') == 0
    with pytest.raises(UserError, match='has no head'):
        trained('continued/digits_scan_self_label', tmp_path / 'y', f'init_from={first}')
    assert evaluate.main([f'--workdir={third}', '--only=clustering', f'--out={tmp_path / "n.json"}']) == 0
    numbers = json.loads((tmp_path / 'n.json').read_text())
    assert {'cluster_accuracy_matched', 'assigned_accuracy_matched', 'assigned_used'} <= set(numbers)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['deepcluster', 'deepercluster', 'jule', 'pcl', 'sela'])
def test_a_stopped_run_goes_on_to_the_bit(name, tmp_path, one_device):
    """Clusters, heads and their optimiser's restarts belong to the checkpoint or to the step."""
    few = ['train.epochs=3', 'checkpoint.every_epochs=1', 'train.log_every=1']
    if name == 'pcl':
        few += ['projector.widths=(32, 16)', 'method.queue=640', 'method.groups=4', 'method.prototype_start=2']
    folder = 'digits'
    if name == 'deepercluster':
        folder = 'cifar5k_pretext'
        few += ['data.source=digits', 'data.per_class=0', 'augment.size=8', 'augment.mean=(0.1,)', 'augment.std=(0.3,)']
        few += ['method.every_epochs=1', 'method.components=8']
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    assert trained(f'{folder}/{name}', whole, *few) == 0
    assert trained(f'{folder}/{name}', cut, *few, 'train.stop_after_steps=5') == 75
    assert trained(f'{folder}/{name}', cut, *few) == 0
    assert (whole / 'metrics.jsonl').read_text() == (cut / 'metrics.jsonl').read_text()
