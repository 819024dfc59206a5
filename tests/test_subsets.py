"""Subsets of a training set: the greedy choice, the files, and training on one."""

import itertools
import json

import numpy as np
import pytest
import small
from selfsup import embed, evals, subset, train
from selfsup.data import subsets as files
from selfsup.data.sources import from_arrays
from selfsup.engine import build
from selfsup.errors import UserError
from selfsup.evals.subsets import closest, evenly, highest

RNG = np.random.default_rng(0)


def similarities(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.maximum(rows @ rows.T, 0)


def objective(s, chosen):
    rest = np.setdiff1d(np.arange(len(s)), chosen)
    return s[np.ix_(rest, chosen)].sum()


def test_each_row_taken_gains_most():
    rows = RNG.normal(size=(40, 3))
    s, taken = similarities(rows), closest(rows, 12)
    for number in range(12):
        values = [objective(s, [*taken[:number], i]) if i not in taken[:number] else -np.inf for i in range(40)]
        assert values[taken[number]] == pytest.approx(max(values), abs=1e-4)


def test_the_greedy_choice_is_near_the_best_of_all():
    for seed in range(4):
        rows = np.random.default_rng(seed).normal(size=(11, 3))
        s = similarities(rows)
        best = max(objective(s, list(chosen)) for chosen in itertools.combinations(range(11), 4))
        assert objective(s, closest(rows, 4)) >= 0.9 * best


def test_the_authors_order_is_by_the_sum_of_similarities():
    rows = RNG.normal(size=(60, 5)).astype(np.float32)
    order = np.argsort(-similarities(rows.astype(np.float64)).sum(axis=1), kind='stable')
    np.testing.assert_array_equal(closest(rows, 15, greedy=False), order[:15])
    assert set(closest(rows, 15)) != set(order[:15])


def test_blocks_change_nothing(monkeypatch):
    from selfsup.evals import subsets

    rows = RNG.normal(size=(50, 4))
    whole = closest(rows, 9)
    monkeypatch.setattr(subsets, 'BLOCK', 7)
    np.testing.assert_array_equal(closest(rows, 9), whole)


@pytest.mark.parametrize('by', ['sas', 'sas_authors', 'balanced', 'hierarchical', 'random'])
def test_a_share_of_the_rows_is_kept(by):
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    kept = evals.subset(RNG.normal(size=(100, 4)), classes, share=0.3, by=by)
    assert list(kept) == sorted(set(kept)) and len(kept) == 30
    counts = np.bincount(classes[kept], minlength=3).tolist()
    if by != 'random':
        assert counts == ([10, 10, 10] if by in ('balanced', 'hierarchical') else [18, 9, 3])
    again = evals.subset(RNG.normal(size=(100, 4)), classes, share=0.3, by=by)
    assert (by in ('balanced', 'hierarchical', 'random')) == bool(np.array_equal(again, kept))  # which read no features


@pytest.mark.parametrize(
    'change, message',
    [
        ({'share': 0.0}, 'a share above 0 and at most 1 of the rows, not 0'),
        ({'share': 1.5}, 'not 1.5'),
        ({'by': 'best'}, "'best' is no selection of rows; known are sas, sas_authors, balanced, hierarchical, random"),
        ({'features': np.full((4, 2), np.nan)}, 'must be finite'),
        ({'classes': np.zeros(3, int)}, r'features \[4, 2\] and classes \[3\] do not match'),
        ({'classes': np.zeros((4, 2), int)}, r'features \[4, 2\] and classes \[4, 2\] do not match'),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {'features': np.ones((4, 2)), 'classes': np.zeros(4, int), 'share': 0.5, **change}
    with pytest.raises(UserError, match=message):
        evals.subset(given.pop('features'), given.pop('classes'), **given)


def test_latent_classes_are_clusters_and_no_more_than_rows():
    rows = np.repeat(np.eye(3), 5, axis=0) + 0.01 * RNG.normal(size=(15, 3))
    found = evals.latent_classes(rows, 3)
    assert sorted(np.bincount(found)) == [5, 5, 5] and len({*found[:5]}) == 1
    with pytest.raises(UserError, match='16 latent classes of 15 rows'):
        evals.latent_classes(rows, 16)


def test_groups_give_as_many_each_and_small_ones_all():
    generator = np.random.default_rng(0)
    assert evenly(np.array([1, 10, 10]), 9, generator).tolist() == [1, 4, 4]
    found = evenly(np.array([1, 10, 10]), 10, generator)
    assert found[0] == 1 and sorted(found[1:]) == [4, 5]
    assert evenly(np.array([2, 3]), 5, generator).tolist() == [2, 3]
    for _ in range(50):
        sizes = generator.integers(1, 30, size=6)
        count = int(generator.integers(1, sizes.sum() + 1))
        taken = evenly(sizes, count, generator)
        cut = taken[taken < sizes].min(initial=30)  # nothing has more than one more than a group that was cut
        assert taken.sum() == count and (taken <= sizes).all() and (taken <= cut + 1).all()


def test_a_hierarchy_gives_as_many_to_each_branch_and_then_to_each_leaf():
    # Two branches: one of a single leaf of 80 rows, one of two leaves of 16 and 4.
    leaves = np.repeat([0, 1, 2], [80, 16, 4])
    levels = np.stack([leaves, np.minimum(leaves, 1)], axis=1)
    kept = evals.subset(np.ones((100, 2)), levels, share=0.2, by='hierarchical')
    assert np.bincount(leaves[kept]).tolist() == [10, 6, 4]
    flat = evals.subset(np.ones((100, 2)), leaves, share=0.2, by='hierarchical')
    assert sorted(np.bincount(leaves[flat])) == [4, 8, 8]
    other = evals.subset(np.ones((100, 2)), levels, share=0.2, by='hierarchical', seed=1)
    assert other.tolist() != kept.tolist()


def test_a_tree_joins_planted_groups_of_clusters_and_resampling_evens_its_leaves():
    # Four bunches in two directions, one of them dense.
    centres = np.array([[1, 0.2, 0], [1, -0.2, 0], [0, 0.2, 1], [0, -0.2, 1]])
    truth = np.repeat([0, 1, 2, 3], [200, 20, 20, 20])
    rows = centres[truth] + 0.01 * RNG.normal(size=(260, 3))
    found = evals.latent_tree(rows, (4, 2))
    assert found.shape == (260, 2)
    for level, groups in enumerate((truth, truth // 2)):
        pairs = {*zip(found[:, level].tolist(), groups.tolist(), strict=True)}
        assert len(pairs) == len({*groups.tolist()}), level
    crowd = RNG.normal(size=(600, 2)) * np.where(np.arange(600) < 500, 0.02, 0.5)[:, None] + [3.0, 0.0]
    plain, even = (evals.latent_tree(crowd, (30,), resamplings=n)[:, 0] for n in (0, 5))
    assert np.unique(even[:500]).size < np.unique(plain[:500]).size  # fewer leaves where rows are dense


@pytest.mark.parametrize('counts', [(), (2, 4), (4, 4), (300, 2), (4, 0)])
def test_levels_that_do_not_descend_are_refused(counts):
    with pytest.raises(UserError, match='must descend from at most the 8 rows to at least 1'):
        evals.latent_tree(RNG.normal(size=(8, 2)), counts)


def test_the_largest_scores_are_kept():
    assert highest(np.array([0.1, 0.5, -1.0, 0.5, 0.2]), 0.4).tolist() == [1, 3]
    assert highest(np.array([0.5, 0.5, 0.5]), 0.34).tolist() == [0]


def source(count=20):
    return from_arrays('made', (255 * np.asarray(small.images(count))).astype(np.uint8), np.arange(count) % 2)


def test_a_file_names_rows_of_its_own_set(tmp_path):
    file = tmp_path / 'subset.npz'
    np.savez(file, **files.arrays_of(source(), np.array([3, 5, 11]), by='sas'))
    found = files.chosen(source(), str(file))
    np.testing.assert_array_equal(found.labels, source().labels[[3, 5, 11]])
    np.testing.assert_array_equal(found.images(), source().images()[[3, 5, 11]])
    with pytest.raises(UserError, match='made of another training set of 20 rows, and made has 12'):
        files.chosen(source(12), str(file))


@pytest.mark.parametrize(
    'arrays, message',
    [
        ({'index': np.array([1])}, "has no 'rows'; it is to be a file of selfsup subset"),
        ({'index': np.array([0.5]), 'rows': 20, 'fingerprint': ''}, r'must hold numbers of rows, not float64 \[1\]'),
        ({'index': np.array([1, 20])}, 'different numbers from 0 to 19'),
        ({'index': np.array([1, 1])}, 'different numbers from 0 to 19'),
    ],
)
def test_a_file_that_is_none_is_refused(arrays, message, tmp_path):
    given = arrays if 'rows' in arrays or 'rows' in message else {**files.arrays_of(source(), arrays['index'])}
    np.savez(tmp_path / 's.npz', **given)
    with pytest.raises(UserError, match=message):
        files.chosen(source(), str(tmp_path / 's.npz'))


@pytest.mark.slow
def test_a_subset_is_chosen_by_a_run_and_trained_on(tmp_path):
    run, features, out = tmp_path / 'run', tmp_path / 'f.npz', tmp_path / 's.npz'
    fields = [
        'model.widths=(4, 8)',
        'projector.widths=(8, 8)',
        'train.epochs=1',
        'data.batch_size=64',
        'evaluate.probes=()',
    ]
    assert train.main(['digits/simclr', f'--workdir={run}', *fields[:4]]) == 0
    assert embed.main([f'--workdir={run}', f'--out={features}']) == 0
    assert subset.main([f'--features={features}', '--share=0.5', f'--out={out}', '--classes=5']) == 0
    with np.load(out) as found:
        kept = found['index']
        assert found['rows'] == 1438 and 710 <= len(kept) <= 719
    config = small.digits_config('simclr', f'data.subset={out}')
    data = build.open_data(config)
    assert len(data.train) + len(data.holdout) == len(kept) and len(data.labelled) == 1438
    assert train.main(['digits/simclr', f'--workdir={tmp_path / "less"}', f'data.subset={out}', *fields[:4]]) == 0
    with pytest.raises(UserError, match='made of another training set of 1438 rows'):
        build.open_data(small.digits_config('simclr', f'data.subset={out}', 'data.per_class=20'))
    assert embed.main([f'--workdir={run}', f'--out={tmp_path / "o.npz"}', '--data=digits']) == 0
    with pytest.raises(UserError, match='holds features of digits, not of the run'):
        subset.main([f'--features={tmp_path / "o.npz"}', '--share=0.5', f'--out={out}'])


@pytest.mark.parametrize(
    'change, message',
    [
        ({'origin': None}, 'has no origin, as selfsup embed writes it'),
        ({'origin': np.array('{"source"')}, 'origin is not as selfsup embed writes it; embed again'),
        ({'train_index': np.array([0.5, 1.5])}, r'train_index must hold numbers of images, not float64 \[2\]'),
    ],
)
def test_features_that_do_not_say_whose_rows_they_are_are_refused(change, message, tmp_path):
    data = dict(small.digits_config('simclr').data)
    arrays = {
        'train_features': np.eye(2, dtype=np.float32),
        'train_index': np.arange(2),
        'origin': np.array(json.dumps({'source': None, 'data': data})),
        **change,
    }
    np.savez(tmp_path / 'f.npz', **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=message):
        subset.main([f'--features={tmp_path / "f.npz"}', '--share=0.5', f'--out={tmp_path / "s.npz"}'])


@pytest.fixture(scope='module')
def halves(tmp_path_factory):
    """Runs of one epoch on two halves of digits, the files that name them, and the first run's features."""
    root = tmp_path_factory.mktemp('halves')
    fields = ['model.widths=(4, 8)', 'projector.widths=(8, 8)', 'train.epochs=1', 'data.batch_size=64']
    digits = dict(small.digits_config('simclr').data)
    arrays = {'train_features': np.ones((1438, 2), np.float32), 'train_index': np.arange(1438)}
    np.savez(root / 'all.npz', **arrays, origin=np.array(json.dumps({'source': None, 'data': digits})))
    places = [f'--out={root / "a.npz"}', f'--rest={root / "b.npz"}']
    assert subset.main([f'--features={root / "all.npz"}', '--by=random', '--share=0.5', *places]) == 0
    for name in 'ab':
        given = [f'--workdir={root / name}', f'data.subset={root / name}.npz', *fields]
        assert train.main(['digits/simclr', *given]) == 0
    return root


@pytest.mark.slow
def test_rows_are_scored_by_the_run_that_saw_them(halves, capsys):
    from selfsup import diagnostics
    from selfsup.engine import encoder, memorised
    from selfsup.engine.view_evals import encoded_views

    a, b = (encoder.load(str(halves / name)) for name in 'ab')
    index = {name: np.load(halves / f'{name}.npz')['index'] for name in 'ab'}
    assert sorted([*index['a'], *index['b']]) == list(range(1438))
    whole, scores, told = memorised.scores(a, b)
    seen = {name: memorised.trained_on(run)[1] for name, run in (('a', a), ('b', b))}
    assert {*seen['a']} < {*index['a']} and len(seen['a']) == len(build.open_data(a.config).train)
    assert told == len(seen['a']) + len(seen['b']) and (scores != 0).sum() <= told
    # Of the rows of the first half: how much closer its views are by the first run than by the second.
    shown = build.open_data(a.config).labelled
    pairs = list(encoded_views([a, b], shown, shown, kind='features', count=len(shown)))
    ours, theirs = (np.asarray(diagnostics.view_distances(np.concatenate([p[i] for p in pairs]))) for i in range(2))
    np.testing.assert_allclose(scores[seen['a']], (theirs - ours)[seen['a']], atol=1e-5)
    np.testing.assert_allclose(scores[seen['b']], (ours - theirs)[seen['b']], atol=1e-5)
    out = halves / 'memorised.npz'
    given = ['--by=memorised', f'--workdir={halves / "a"}', f'--with={halves / "b"}']
    assert subset.main([*given, '--share=0.1', f'--out={out}']) == 0
    assert f'143 of 1438 rows of {whole.name}, {told} of them scored' in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(out)['index'], highest(scores, 0.1))
    with pytest.raises(UserError, match='trained on the same rows'):
        subset.main([*given[:2], f'--with={halves / "a"}', '--share=0.1', f'--out={out}'])


@pytest.mark.parametrize(
    'options, message',
    [
        ([], '--by=sas needs --features'),
        (['--features=F', '--with=R'], '--by=sas needs --features, and does not read --with'),
        (['--by=memorised', '--workdir=R'], '--by=memorised needs --workdir and --with'),
        (['--by=memorised', '--features=F'], '--by=memorised needs --workdir and --with, and does not read --features'),
        (['--features=F', '--rest=OUT'], 'is the file of --out; name another'),
        (['--features=F', '--rest=rest.txt'], '--rest=rest.txt must be a file ending in .npz'),
        (['--features=F', '--classes=20,5'], '--classes=20,5 is of --by=hierarchical; give one number, or labels'),
        (['--features=F', '--by=memorized'], '--by=memorized is unknown; did you mean memorised'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    out = str(tmp_path / 's.npz')
    with pytest.raises(UserError, match=message):
        subset.main([f'--out={out}', '--share=0.5', *(option.replace('OUT', out) for option in options)])
