"""`selfsup bench`: tasks, means by kind and ranks, on files of features."""

import json

import numpy as np
import pytest
from selfsup import bench, evals
from selfsup.errors import UserError
from selfsup.evals import Features


def features(count, spread, seed):
    labels = np.arange(count) % 3
    rows = 2 * np.eye(3, 5)[labels] + spread * np.random.default_rng(seed).normal(size=(count, 5))
    return Features(rows.astype(np.float32), labels.astype(np.int32))


def saved(folder, name, spread):
    train, test = features(60, spread, 0), features(30, spread, 1)
    file = folder / f'{name}.npz'
    arrays = {'train_features': train.features, 'train_labels': train.labels}
    np.savez(file, **arrays, test_features=test.features, test_labels=test.labels)
    return f'{name}={file}'


def test_means_are_over_kinds_and_ranks_over_tasks():
    results = {
        'a': {'x/logistic': 0.9, 'x/knn': 0.5, 'y/logistic': 0.7, 'y/knn': 0.5},
        'b': {'x/logistic': 0.8, 'x/knn': 0.5, 'y/logistic': 0.8, 'y/knn': 0.9},
    }
    rows = evals.summary(results)
    assert list(rows) == ['b', 'a']  # the better rank first
    assert rows['a'] == pytest.approx(
        {'mean_classification': 0.8, 'mean_neighbours': 0.5, 'mean': 0.65, 'rank': (1 + 1.5 + 2 + 2) / 4, 'borda': 1.5}
    )
    assert rows['b']['rank'] == pytest.approx((2 + 1.5 + 1 + 1) / 4) and rows['b']['borda'] == 2.5


def test_encoders_must_have_seen_the_same_samples():
    pair = (features(60, 0.1, 0), features(30, 0.1, 1))
    other = (pair[0], Features(pair[1].features, pair[1].labels[::-1]))
    with pytest.raises(UserError, match=r'a and b have other labels of x \(test\): not the same samples'):
        evals.bench({'a': {'x': pair}, 'b': {'x': other}}, tasks=('knn',))
    with pytest.raises(UserError, match='b has the data y, and a x'):
        evals.bench({'a': {'x': pair}, 'b': {'y': pair}}, tasks=('knn',))


@pytest.mark.slow
def test_files_are_ranked_and_what_they_are_too_small_for_is_left_out(tmp_path, capsys):
    words = [saved(tmp_path, 'tight', 0.2), saved(tmp_path, 'loose', 2.0)]
    out = tmp_path / 'bench.json'
    assert bench.main([*words, '--tasks=knn,retrieval,few_shot', '--feet', f'--out={out}']) == 0
    written = json.loads(out.read_text())
    assert list(written['summary']) == ['tight', 'loose']
    assert written['summary']['tight']['rank'] == 1 and written['summary']['tight']['borda'] == 2
    assert set(written['scores']['loose']) == {'data1/knn', 'data1/retrieval'}
    assert 'data1/few_shot: left out, train has 3 classes of labels' in capsys.readouterr().out
    assert written['feet']['tight']['data1/frozen'] == 1.0


@pytest.mark.parametrize(
    'words, message',
    [
        ([], 'no encoder is named'),
        (['runs/simclr'], "'runs/simclr' must be NAME=FOLDER or NAME=FILE.npz"),
        (['a=none.npz', '--tasks=knm'], "'knm' is no task; did you mean knn"),
        (['a=none.npz'], 'there is no such file'),
        (['a=none.npz', '--data=x,y'], 'a has 1 files, and --data names 2 data sets'),
        (['a=none.npz', '--out=x.txt'], 'must be a file ending in .json'),
    ],
)
def test_bad_arguments(words, message):
    with pytest.raises(UserError, match=message):
        bench.main(words)
