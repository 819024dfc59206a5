"""`train`, `evaluate` and `embed` as a user types them, in one process and on one device."""

import shutil

import numpy as np
import pytest
import small
from PIL import Image
from selfsup import embed, evaluate, parallel, train
from selfsup.data.sources import open_source
from selfsup.engine import encoder, report
from selfsup.errors import UserError
from selfsup.files import read_jsonl

SMALL = [
    '--config.model.widths=(16,)', '--config.projector.widths=(8,)', '--config.train.epochs=2', '--config.data.pad=0',
    '--config.optimizer.warmup_epochs=1', '--config.monitor.max_samples=64', '--config.evaluate.label_draws=2',
    '--config.data.per_class=40', '--config.evaluate.label_counts=(1,)',
]  # fmt: skip


@pytest.fixture(scope='module', autouse=True)
def one_device():
    """Commands take every device there is, and a step over eight takes several times as long to compile."""
    plain = parallel.data_mesh
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, 'data_mesh', lambda devices=None: plain(devices or 1))
        yield


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports without what the tests below do not look at."""
    monkeypatch.setattr(report, 'PICTURES', {})
    monkeypatch.setattr(report.page, 'page', lambda facts: '')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """A whole run, beside the file that it read."""
    folder = tmp_path_factory.mktemp('commands')
    arrays = {}
    for part, source, count in zip(('train', 'test'), open_source('digits'), (500, 100), strict=True):
        arrays |= {f'{part}_images': source.images()[:count], f'{part}_labels': source.labels[:count]}
    np.savez(folder / 'a.npz', **arrays)
    given = ['--config=experiments/digits/vicreg.py', f'--config.data.source=npz:{folder}/a.npz']
    assert train.main([*given, f'--workdir={folder}/run', *SMALL]) == 0
    return folder / 'run'


@pytest.mark.slow
def test_evaluate_repeats_the_report(workdir, capsys):
    report = (workdir / 'report.md').read_text()
    (workdir / 'report.md').unlink()
    assert evaluate.main([f'--workdir={workdir}']) == 0
    assert (workdir / 'report.md').read_text() == report
    assert 'raw pixels' in capsys.readouterr().out


def test_a_run_shorter_than_the_interval_of_its_log_has_its_last_loss(workdir):
    lines = read_jsonl(workdir / 'metrics.jsonl')
    config, saved = encoder.read_run(workdir)
    total, every = saved['total_steps'], config.train.log_every
    logged = [line['step'] for line in lines if 'loss' in line]
    assert logged == [*range(every, total, every), total]


def test_a_report_is_repeated_where_the_same_data_lie_elsewhere(workdir, tmp_path, no_pictures):
    report = shutil.copytree(workdir, tmp_path / 'run') / 'report.md'
    report.unlink()
    shutil.move(workdir.parent / 'a.npz', tmp_path / 'b.npz')
    try:
        assert evaluate.main([f'--workdir={tmp_path}/run', f'--data=npz:{tmp_path}/b.npz']) == 0 and report.exists()
    finally:
        shutil.move(tmp_path / 'b.npz', workdir.parent / 'a.npz')
    with pytest.raises(UserError, match='is made on its own data, and --data=digits holds others; say which numbers'):
        evaluate.main([f'--workdir={tmp_path}/run', '--data=digits'])


def test_embed_writes_features(workdir, tmp_path):
    out = tmp_path / 'features.npz'
    assert embed.main([f'--workdir={workdir}', f'--out={out}']) == 0
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays['train_features'].shape == (400, 16) and arrays['test_labels'].shape == (100,)
        assert list(arrays['class_names']) == [str(c) for c in range(10)]


def test_embed_reads_other_data(workdir, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f'{i}.png')
    out = tmp_path / 'features.npz'
    assert embed.main([f'--workdir={workdir}', f'--out={out}', f'--data=folder:{tmp_path}']) == 0
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays['features'].shape == (12, 16) and arrays['index'].tolist() == list(range(12))
        assert (arrays['labels'] == -1).all()
        assert [file.rsplit('/', 1)[-1] for file in arrays['files']] == sorted(f'{i}.png' for i in range(12))


@pytest.mark.slow
def test_a_folder_without_labels_trains_and_reports(tmp_path, no_pictures):
    for i in range(40):
        Image.fromarray(np.asarray(np.asarray(small.images(40))[i, ..., 0] * 255, np.uint8)).save(tmp_path / f'{i}.png')
    path = tmp_path / 'run'
    arguments = [
        '--config=experiments/digits/vicreg.py',
        f'--workdir={path}',
        f'--config.data.source=folder:{tmp_path}',
    ]
    assert train.main([*arguments, '--config.data.batch_size=8', *SMALL]) == 0
    assert 'no labels' in (path / 'report.md').read_text()


def test_dry_run_prints_the_costs_and_writes_nothing(tmp_path, capsys):
    arguments = ['--config=experiments/digits/vicreg.py', f'--workdir={tmp_path / "none"}', '--dry-run', *SMALL]
    assert train.main(arguments) == 0
    out = capsys.readouterr().out
    for word in ('parameters of encoder', 'FLOPs', 'peak memory', 'checkpoint', 'global batch'):
        assert word in out
    assert not (tmp_path / 'none').exists()


BAD = {
    'workdir': (lambda w: evaluate.main(['--workdir=/nowhere']), 'no workdir of a run'),
    'step': (lambda w: evaluate.main([f'--workdir={w}', '--step=x']), '--step must be a whole number'),
    'no such step': (lambda w: evaluate.main([f'--workdir={w}', '--step=3']), 'no checkpoint of step 3'),
    'out': (lambda w: embed.main([f'--workdir={w}', '--out=/nowhere/a.npz']), 'must be a file ending in .npz'),
    'data': (lambda w: embed.main([f'--workdir={w}', '--out=a.npz', '--data=digit']), 'did you mean digits'),
    'own source': (
        lambda w: embed.main([f'--workdir={w}', f'--out={w}/own.npz', f'--data=npz:{w}/../run/own.npz']),
        'own.npz is where the images come from',
    ),
    'override': (lambda w: evaluate.main([f'--workdir={w}', '--config.seed=1']), 'takes its config from the workdir'),
    'read-only': (
        lambda w: train.main(['--config=experiments/digits/vicreg.py', '--workdir=/proc/run']),
        '--workdir=/proc/run cannot be written',
    ),
    'batch': (
        lambda w: train.main(
            ['--config=experiments/digits/vicreg.py', f'--workdir={w}/b', '--config.data.batch_size=4096']
        ),
        'data.batch_size=4096 is larger than the 1295 examples',
    ),
    'views': (
        lambda w: train.main(
            ['--config=experiments/digits/vicreg.py', f'--workdir={w}/v', '--config.augment.evaluation_crop=100']
        ),
        'augment.evaluation_resize=0 with evaluation_crop=100: a centre crop of 100 does not fit into images of 12x12',
    ),
    'patches': (
        lambda w: train.main(['--config=experiments/digits/vicreg.py', f'--workdir={w}/p', '--config.model.name=vit_ti']),
        'patches of 16 do not tile images of 12x12; see model.patch',
    ),
}  # fmt: skip


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, workdir):
    with pytest.raises(UserError, match=message):
        call(workdir)


@pytest.mark.parametrize('where', ['train', 'test', 'shape'])
def test_a_dry_run_reads_some_of_the_data(where, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')  # of the terminal, so that no row is broken
    rng = np.random.default_rng(0)
    for part, count in (('train', 18), ('test', 6)):
        (tmp_path / part).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / part / f'{i:02}.png')
    last = {'train': tmp_path / 'train' / '17.png', 'test': tmp_path / 'test' / '05.png'}
    if where == 'shape':
        Image.fromarray(np.zeros((9, 8), np.uint8)).save(last['train'])
    else:
        last[where].write_bytes(b'no image')
    line = ['--config=experiments/digits/vicreg.py', '--dry-run', f'--config.data.source=folder:{tmp_path}', *SMALL[:2]]
    # All to train on stand in the first batch.
    line += ['--config.data.batch_size=16', '--config.data.holdout=0.1']
    with pytest.raises(
        UserError, match='05.png is no image' if where == 'test' else r'number \d+ \(.*17.png\)|17.png is no image'
    ):
        train.main(line)
    if where == 'test':
        assert train.main([*line, '--config.data.on_corrupt=skip']) == 0
        assert (
            '16 of the first batch, 16 of 16 drawn to train on, 2 of 2 drawn held out, 5 of 6 drawn to test'
            in capsys.readouterr().out
        )
