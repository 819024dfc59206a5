"""`python -m selfsup.evaluate` on features in files and on a run, as a user types it."""

import json

import numpy as np
import pytest
from selfsup import evals, evaluate, train
from selfsup.engine import evaluations, patch_evals
from selfsup.errors import UserError


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('features')
    rng = np.random.default_rng(0)
    arrays = {}
    for name, count in (('train', 60), ('test', 40)):
        labels = np.arange(count) % 3
        features = (2.0 * np.eye(3, 13)[labels] + 0.3 * rng.normal(size=(count, 13))).astype(np.float32)
        np.savez(folder / f'{name}.npz', features=features, labels=labels)
        arrays |= {f'{name}_features': features, f'{name}_labels': labels}
    np.savez(folder / 'both.npz', **arrays)
    np.savez(folder / 'unnamed.npz', feature=features, labels=labels)
    np.savez(folder / 'flat.npz', features=features.ravel(), labels=labels)
    np.savez(folder / 'empty.npz', features=features[:, :0], labels=labels)
    np.savez(folder / 'real.npz', features=features, labels=labels + 0.5)
    (folder / 'text.npz').write_text('no')
    return folder


def test_features_of_two_files_or_one(files, capsys):
    out = files / 'scores.json'
    pair = [str(files / 'train.npz'), str(files / 'test.npz')]
    assert evaluate.main(['--features', *pair, '--only=knn,ranks', f'--out={out}']) == 0
    scores = json.loads(out.read_text())
    assert scores['knn'] > 0.95 and {'rankme', 'chosen_knn_k', 'knn_1_0.07'} <= set(scores)
    printed = capsys.readouterr().out
    assert 'chosen_knn_k' in printed and str(out) in printed
    out.unlink()
    assert evaluate.main([f'--features={files / "both.npz"}', '--only=knn,ranks', f'--out={out}']) == 0
    assert json.loads(out.read_text()) == scores


def test_labels_may_be_large_and_numbers_that_are_not_finite_are_null(files):
    out = files / 'scores.json'
    scores = []
    for step in (1, 10**12):
        with np.load(files / 'both.npz') as arrays:
            large = {name: a * step if 'labels' in name else a for name, a in arrays.items()}
        np.savez(files / 'large.npz', **large)
        assert evaluate.main([f'--features={files / "large.npz"}', '--only=knn', f'--out={out}']) == 0
        scores.append(json.loads(out.read_text()))
    assert scores[0] == scores[1]
    evaluate.write({'a': float('nan'), 'b': float('inf'), 'c': 1.5}, out)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == {'a': None, 'b': None, 'c': 1.5}


@pytest.mark.parametrize(
    'names, options, message',
    [
        (('train', 'none'), [], 'there is no such file'),
        (('train', 'text'), [], 'text.npz is no readable npz file'),
        (('train', 'unnamed'), [], "has no array 'features'; did you mean feature"),
        (('train', 'flat'), [], r'must hold features \[n, dim\]'),
        (('train', 'real'), [], 'whole-number labels'),
        (('train', 'empty'), [], r'must hold features \[n, dim\], floats'),
        (('train', 'test', 'both'), [], 'not 3'),
        (('train', 'test'), ['--only=knm'], "'knm' is no evaluation; did you mean knn"),
        (('train', 'test'), ['--only=fine_tune'], 'needs --workdir, not --features'),
        (('train', 'test'), ['--only=ranks', '--out=/nowhere/x.json'], 'in a folder that exists'),
        (('train', 'test'), ['--parents=0,1'], '--parents=0,1 is read by --only=dictionary'),
        (('train', 'test'), ['--images=digits', '--only=knn'], '--images=digits is read by --only=dictionary'),
        (('train', 'test'), ['--tap=block0', '--only=knn'], '--tap=block0 is read by --only=concepts'),
        (('train', 'test'), ['--workdir=run'], 'either --workdir'),
        (('train', 'test'), ['--config.seed=1'], 'takes its config from the workdir'),
        ((), [], 'either --workdir'),
    ],
)
def test_bad_arguments(files, names, options, message):
    given = ['--features', *(str(files / f'{name}.npz') for name in names)] if names else []
    with pytest.raises(UserError, match=message):
        evaluate.main([*given, *options])


def test_all_leaves_out_what_the_data_do_not_allow_and_a_name_does_not(capsys):
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    part = evals.Features(rows, np.arange(40, dtype=np.int32) % 2)
    found = evaluations.of_features(part, part, ('few_shot', 'knn', 'novel_classes'), every=True)
    assert 'knn' in found and not any(name.startswith(('few', 'novel')) for name in found)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('few_shot is left out: train has 2 classes of labels') and second.startswith(
        'novel_classes is left out: '
    )
    with pytest.raises(UserError, match='needs at least 3 classes'):
        evaluations.of_features(part, part, ('novel_classes',))


@pytest.mark.slow
def test_a_run_is_evaluated_from_its_images_too(tmp_path):
    small = [
        '--config.model.widths=(8, 16)', '--config.projector.widths=(16, 8)', '--config.train.epochs=2',
        '--config.optimizer.warmup_epochs=1', '--config.evaluate.label_draws=2', '--config.data.per_class=30',
    ]  # fmt: skip
    assert train.main(['--config=experiments/digits/vicreg.py', f'--workdir={tmp_path / "run"}', *small]) == 0
    assert evaluate.main([f'--workdir={tmp_path / "run"}', '--only=knn,online,fine_tune,feet']) == 0
    scores = json.loads((tmp_path / 'run' / 'evaluation.json').read_text())
    assert scores['feet_fine_tuned'] == scores['fine_tuned'] and 0.1 < scores['linear_online'] <= 1
    # The same encoder on other data: transfer.
    assert (
        evaluate.main([f'--workdir={tmp_path / "run"}', '--only=knn', '--data=digits', f'--out={tmp_path / "o.json"}'])
        == 0
    )
    assert set(json.loads((tmp_path / 'o.json').read_text())) > {'knn', 'chosen_knn_k'}


@pytest.mark.slow
def test_patches_of_a_run_are_evaluated_and_pictured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(patch_evals, 'RENDERED', {'train': (30, 0), 'test': (10, 1)})
    small = [
        '--config.model.dim=16', '--config.model.depth=2', '--config.decoder.dim=16', '--config.train.epochs=2',
        '--config.optimizer.warmup_epochs=1', '--config.evaluate.label_draws=2', '--config.data.per_class=30',
    ]  # fmt: skip
    assert train.main(['--config=experiments/digits/mae.py', f'--workdir={tmp_path / "run"}', *small]) == 0
    assert '](patches.png)' in (tmp_path / 'run' / 'report.md').read_text()
    assert (tmp_path / 'run' / 'patches.png').is_file()
    assert evaluate.main([f'--workdir={tmp_path / "run"}', '--only=tokens,attentive,dense']) == 0
    scores = json.loads((tmp_path / 'run' / 'evaluation.json').read_text())
    kinds = {f'{probe}_{kind}' for probe in ('knn', 'linear') for kind in ('mean', 'token', 'blocks2')}
    segmented = {
        f'dense{control}_{probe}_{score}'
        for control in ('', '_untrained', '_pixels')
        for probe in ('knn', 'linear')
        for score in ('miou', 'accuracy')
    }
    assert kinds | segmented | {'attentive', 'dense_background_miou'} <= set(scores)
    assert min(scores[kind] for kind in (*kinds, 'attentive')) > 0.2
    with pytest.raises(UserError, match='--only=dense segments images, and vectors:iris'):
        evaluate.main([f'--workdir={tmp_path / "run"}', '--only=dense', '--data=vectors:iris'])
