"""TLDR and PCA as reducers, and the command `selfsup reduce`."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import compiled, diagnostics
from selfsup import losses, reduce, reduction
from selfsup.errors import UserError
from selfsup.reduction.tldr import folded, loss_of, networks
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64

from experiments.tables import reduction as table

SMALL = {'projector': (32, 32), 'epochs': 3, 'batch_size': 32, 'neighbours': 3}
WORDS = ['--projector=32,32', '--epochs=3', '--batch-size=32', '--neighbours=3']


def rows(n=96, width=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def sheet(n=600, width=20):
    """Rows on a curved sheet of three dimensions, turned, with noise in all directions."""
    rng = np.random.default_rng(3)
    flat = rng.uniform(-2, 2, (n, 3))
    bent = np.concatenate([flat, np.sin(flat), rng.normal(0, 0.3, (n, width - 6))], axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return (bent @ turn).astype(np.float32)


def test_the_authors_weights_of_the_loss(golden, x64):
    found = compiled(losses.barlow_twins, lambd=3.9e-3, scale=1 / 32)(*golden)
    assert abs(float(found) - 0.0005567951) < GOLDEN_FLOAT64


def test_both_sides_have_batch_statistics_of_their_own(x64):
    """The loss of a batch of pairs, from the formulas."""
    encoder, head = networks(4, (8,), (16, 6))
    first, second = (jnp.asarray(rows(24, 12, seed), float) for seed in (0, 1))
    key = jax.random.key(0)
    encoded, one = encoder.init_with_output(key, first)
    two = head.init(key, encoded)
    params = {'encoder': one['params'], 'projector': two['params']}
    statistics = {'encoder': one['batch_stats'], 'projector': two['batch_stats']}
    loss = jax.jit(loss_of(encoder, head, lambd=3.9e-3, scale=1 / 32))
    found, moved = loss(params, statistics, jnp.stack([first, second]))
    first, second = np.asarray(first), np.asarray(second)

    def normed(z):
        return (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)

    def side(z):
        for network in (params['encoder'], params['projector']):
            z = np.maximum(normed(z @ np.asarray(network['linear0']['kernel'])), 0)
            z = z @ np.asarray(network['linear1']['kernel'])
        return normed(z)

    assert 'bias' not in params['encoder']['linear0']
    c = side(first).T @ side(second) / 24
    expected = (np.sum((np.diag(c) - 1) ** 2) + 3.9e-3 * np.sum((c - np.diag(np.diag(c))) ** 2)) / 32
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    seen = first @ np.asarray(params['encoder']['linear0']['kernel'])
    again = second @ np.asarray(params['encoder']['linear0']['kernel'])
    average = 0.9 * 0.1 * seen.mean(0) + 0.1 * again.mean(0)  # the second side moves what the first has moved
    np.testing.assert_allclose(moved['encoder']['norm0']['mean'], average, rtol=1e-6)


@pytest.mark.parametrize('hidden', [(), (8, 6)])
def test_a_folded_encoder_is_the_encoder(hidden):
    encoder, _ = networks(4, hidden, (8,))
    x = jnp.asarray(rows())
    variables = encoder.init(jax.random.key(0), x)
    spread = np.random.default_rng(1)
    variables = jax.tree.map(lambda v: jnp.abs(v) + spread.uniform(0.1, 1, v.shape).astype(np.float32), dict(variables))
    mean, unit = np.asarray(x).mean(0), 1.7
    reducer = folded(variables['params'], variables.get('batch_stats', {}), mean, unit)
    expected = encoder.apply(variables, (x - mean[None]) / unit)
    np.testing.assert_allclose(reduction.apply(reducer, np.asarray(x)), expected, rtol=2e-4, atol=2e-5)
    assert (reducer.width, reducer.dim) == (12, 4)


def test_tldr_keeps_neighbours_on_a_sheet():
    x = sheet()
    losses_seen = []
    keywords = {'projector': (64, 64), 'epochs': 60, 'batch_size': 128, 'learning_rate': 2.0, 'warmup_epochs': 5}
    reducer = reduction.tldr(x, 3, **keywords, tell=lambda number, epochs, loss: losses_seen.append(loss))
    assert len(losses_seen) == 60 and losses_seen[-1] < 0.5 * losses_seen[0]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0][:, :3]
    found = float(diagnostics.neighbour_recall(x, reduction.apply(reducer, x), k=10))
    chance = float(diagnostics.neighbour_recall(x, (x @ turn).astype(np.float32), k=10))
    assert found > 2 * chance, (found, chance)


def test_a_fit_is_a_function_of_rows_and_seed_and_not_of_their_unit():
    x = rows()
    first, again, other, scaled = (
        reduction.tldr(given, 4, **SMALL, seed=seed) for given, seed in ((x, 0), (x, 0), (x, 1), (8 * x, 0))
    )
    np.testing.assert_array_equal(first.matrices[0], again.matrices[0])
    assert np.abs(first.matrices[0] - other.matrices[0]).max() > 0.01
    np.testing.assert_allclose(reduction.apply(scaled, 8 * x), reduction.apply(first, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('whiten', [False, True])
def test_pca_equals_scikit_learn(whiten):
    x = (rows() * np.arange(1, 13)).astype(np.float32)
    ours = reduction.apply(reduction.pca(x, 5, whiten=whiten), x)
    theirs = PCA(5, whiten=whiten, svd_solver='full').fit_transform(x.astype(np.float64))
    theirs *= np.sign(np.sum(theirs * ours, axis=0))
    # scikit-learn divides by the deviation of ddof 1.
    np.testing.assert_allclose(ours, theirs * (np.sqrt(96 / 95) if whiten else 1), atol=2e-4 * np.abs(theirs).max())


@pytest.mark.parametrize('queries', [None, 7])
def test_neighbour_recall_equals_scikit_learn(queries, x64):
    x, z = (rows(40, w, s).astype(np.float64) for w, s in ((6, 0), (2, 1)))
    z = z + x[:, :2]
    banks = {} if queries is None else {'x_bank': x[queries:], 'z_bank': z[queries:]}
    found = diagnostics.neighbour_recall(x[:queries], z[:queries], **banks, k=5)
    sets = []
    for space in (x, z):
        search = NearestNeighbors(n_neighbors=5).fit(space[queries or 0 :])
        sets.append(search.kneighbors(None if queries is None else space[:queries])[1])
    expected = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(*sets, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    assert float(diagnostics.neighbour_recall(x, 3 * x, k=5)) == 1


def test_a_reducer_survives_its_file(tmp_path):
    reducer = reduction.tldr(rows(), 4, hidden=(8,), **SMALL)
    reduction.save(reducer, tmp_path / 'r.npz')
    again = reduction.read(tmp_path / 'r.npz', 'r.npz')
    assert again.kind == 'tldr'
    for one, two in zip(reducer.matrices + reducer.biases, again.matrices + again.biases, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture
def features(tmp_path):
    """A file as `selfsup embed` writes it."""
    classes = np.arange(96) % 3
    x = rows() + 2 * np.eye(3, 12)[classes]
    part = {'features': x, 'labels': classes, 'index': np.arange(96)}
    arrays = {f'train_{name}': array[:72] for name, array in part.items()}
    arrays |= {f'test_{name}': array[72:] for name, array in part.items()}
    np.savez(tmp_path / 'f.npz', **arrays, class_names=np.array(['a', 'b', 'c']))
    return tmp_path / 'f.npz'


def load(file):
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def changed(file, to, **arrays):
    np.savez(to, **{**load(file), **arrays})
    return to


@pytest.mark.slow
def test_the_command_writes_what_embed_writes(features, tmp_path, capsys):
    words = [f'--in={features}', f'--out={tmp_path}/o.npz', '--dim=4', f'--save={tmp_path}/r.npz', *WORDS]
    assert reduce.main(words) == 0
    shown = capsys.readouterr().out
    assert 'epoch 3 of 3: loss' in shown and 'whiten' in shown and 'neighbour recall' in shown and 'knn' in shown
    before, after = load(features), load(tmp_path / 'o.npz')
    assert list(before) == list(after) and after['train_features'].shape == (72, 4)
    for name in before:
        if not name.endswith('_features'):
            np.testing.assert_array_equal(before[name], after[name])
    # Other test features: the same reducer, to the bit.
    other = changed(features, tmp_path / 'other.npz', test_features=rows(24, seed=5))
    words[0], words[1], words[3] = f'--in={other}', f'--out={tmp_path}/p.npz', f'--save={tmp_path}/s.npz'
    assert reduce.main([*words, '--report=off']) == 0
    for name, array in load(tmp_path / 'r.npz').items():
        np.testing.assert_array_equal(array, load(tmp_path / 's.npz')[name])
    # Applied to a file it gives what the fit gave there.
    words = [f'--in={features}', f'--out={tmp_path}/q.npz', f'--apply={tmp_path}/r.npz']
    assert reduce.main(words) == 0
    np.testing.assert_array_equal(load(tmp_path / 'q.npz')['test_features'], after['test_features'])


@pytest.mark.parametrize('by', ['pca', 'whiten'])
def test_one_part_without_labels_is_judged_by_its_neighbours(by, tmp_path, capsys):
    np.savez(tmp_path / 'f.npz', features=rows())
    assert reduce.main([f'--in={tmp_path}/f.npz', f'--out={tmp_path}/o.npz', '--dim=3', f'--by={by}']) == 0
    shown = capsys.readouterr().out
    assert 'neighbour recall' in shown and 'mAP' not in shown
    z = load(tmp_path / 'o.npz')['features'].astype(np.float64)
    deviations = z.std(axis=0)
    assert (np.diff(deviations) <= FLOAT32).all() and (np.allclose(deviations, 1, rtol=1e-4) == (by == 'whiten'))


OUT = '--out={0}/o.npz'
BAD = {
    'no dim': ([OUT], '--dim is missing, or --apply'),
    'wide': ([OUT, '--dim=13'], '--dim must lie between 1 and the width of the features, 12, and is 13'),
    'dim 0': ([OUT, '--dim=0'], '--dim must lie between 1'),
    'by': ([OUT, '--dim=2', '--by=tlrd'], '--by=tlrd is unknown; did you mean tldr'),
    'of another': ([OUT, '--dim=2', '--by=pca', '--epochs=5'], '--epochs belongs to --by=tldr'),
    'rate': ([OUT, '--dim=2', '--learning-rate=-1'], '--learning-rate must be a number above 0'),
    'widths': ([OUT, '--dim=2', '--projector=32,x'], '--projector must be a whole number'),
    'no width': ([OUT, '--dim=2', '--hidden=0'], '--hidden must be at least 1, not 0'),
    'batch': ([OUT, '--dim=2', '--batch-size=1'], '--batch-size must be at least 2'),
    'neighbours': ([OUT, '--dim=2', '--neighbours=72'], '--neighbours must lie between 1 and 71'),
    'out': (['--out={0}/o.txt', '--dim=2'], 'must be a file ending in .npz'),
    'itself': (['--out={0}/f.npz', '--dim=2'], 'f.npz is the file of --in; name another file'),
    'both': ([OUT, '--save={0}/o.npz', '--dim=2'], 'o.npz is the file of --out'),
    'fit and apply': ([OUT, '--dim=2', '--apply={0}/r.npz'], '--dim belongs to a fit'),
    'no reducer': ([OUT, '--apply={0}/f.npz'], 'holds no reducer of `selfsup reduce --save`'),
    'no such file': ([OUT, '--apply={0}/g.npz'], 'there is no such file'),
    'report': ([OUT, '--dim=2', '--report=yes'], "--report must be on or off, not 'yes'"),
    'config': ([OUT, '--dim=2', '--config.seed=1'], 'reduce has no config'),
}


@pytest.mark.parametrize('words, message', BAD.values(), ids=BAD.keys())
def test_bad_input(words, message, features, tmp_path):
    with pytest.raises(UserError) as error:
        reduce.main([f'--in={features}', *(word.format(tmp_path) for word in words)])
    assert message in str(error.value)
    assert not (tmp_path / 'o.npz').exists()


FILES = {
    'no features': ({'x': rows()}, 'has no array features'),
    'integers': ({'features': np.ones((20, 3), int)}, 'must be floats [n, width], not int64 [20, 3]'),
    'maps': ({'features': np.ones((20, 3, 3))}, 'must be floats [n, width]'),
    'not finite': ({'features': np.full((20, 3), np.nan)}, '20 rows are not finite, the first is 0'),
    'two widths': ({'train_features': rows(20, 3), 'test_features': rows(20, 4)}, 'rows of 4 features, and the other part of 3'),
    'test alone': ({'test_features': rows(20, 3)}, 'has test_features alone'),
    'few': ({'features': rows(12, 3)}, '12 rows are too few to fit on: at least 16'),
}  # fmt: skip


@pytest.mark.parametrize('arrays, message', FILES.values(), ids=FILES.keys())
def test_bad_files(arrays, message, tmp_path):
    np.savez(tmp_path / 'f.npz', **arrays)
    with pytest.raises(UserError) as error:
        reduce.main([f'--in={tmp_path}/f.npz', f'--out={tmp_path}/o.npz', '--dim=2'])
    assert message in str(error.value)


def test_a_reducer_of_other_rows_is_refused():
    with pytest.raises(UserError, match=r'takes rows of 12 features, not \[4, 3\]'):
        reduction.apply(reduction.pca(rows(), 2), rows(4, 3))


def test_the_page_says_what_is_recorded():
    docs = Path(table.__file__).parent.parent.parent / 'docs'
    recorded = json.loads((docs / 'reduction.json').read_text())
    assert table.markdown(recorded) in (docs / 'reduction.md').read_text()
