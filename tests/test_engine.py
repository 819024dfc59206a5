"""Runs from config to report: files, exact resume, damage, signals, controls."""

import errno
import json
import os
import re
import shutil
import signal
import sys
import threading
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import selfsup
import small
from prepared import Prepared
from selfsup import config as configuration
from selfsup.engine import alarm, checkpoint, encoder, loop, preemption, workdir
from selfsup.engine.checkpoint import Checkpoints
from selfsup.engine.run import Run
from selfsup.engine.writer import read_jsonl
from selfsup.errors import REQUEUE, UserError, command

# Four steps an epoch, as of the config, of few and small images; without padding raw pixels are at most four times as
# wide as the features, and share the programs of their probes.
FEW = ('monitor.max_samples=36', 'data.per_class=40', 'data.batch_size=80')
QUICK = (*FEW, 'data.pad=0', 'model.widths=(16,)')
TOKENS = (*FEW, 'model.dim=16', 'model.depth=2', 'model.heads=2')


def run(path, method='simclr', *overrides, devices=1):
    return loop.train(small.digits_config(method, *QUICK, *overrides), str(path), devices=devices)


PREPARED = Prepared()
final_state, assert_same_run = PREPARED.final_state, PREPARED.assert_same_run


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    """Most tests below ask what a run does and not how it is prepared, and compiling is what takes the time."""
    monkeypatch.setattr(loop, 'Run', PREPARED)


@pytest.fixture(autouse=True, scope='module')
def forgotten():
    yield
    PREPARED.forget()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A whole run of twelve steps, with its report."""
    path = tmp_path_factory.mktemp('finished') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, 'Run', PREPARED)
        assert run(path) == 0
    return path


@pytest.fixture
def no_report(finished, monkeypatch):
    """Runs end without the evaluation, which most of the tests below do not look at."""
    monkeypatch.setattr(loop.report, 'finish', lambda *arguments: None)


def test_a_run_leaves_what_the_design_says(finished):
    for name in (
        'config.json',
        'metrics.jsonl',
        'timing.jsonl',
        'report.md',
        'results.json',
        'training.png',
        'features.png',
    ):
        assert (finished / name).stat().st_size > 0, name
    assert any((finished / 'tensorboard').iterdir())
    about = json.loads((finished / 'config.json').read_text())
    assert {'config', 'identity', 'fingerprint', 'versions', 'git'} <= set(about)
    scores = json.loads((finished / 'results.json').read_text())['scores']
    assert set(scores) == {'trained', 'untrained', 'pixels'}
    for row in scores.values():
        assert set(row) == {'knn', 'linear_1', 'linear_10', 'linear'}
        assert 0.2 < row['linear_1'] < row['linear_10'] < row['linear'] <= 1
    report = (finished / 'report.md').read_text()
    assert 'raw pixels' in report and f'{scores["trained"]["linear_10"]:.3f}' in report
    assert re.search(r'- training: [\d,]+ images/s, [\d.]+% of the time waiting for data$', report, re.M)


def test_metrics_are_lines_with_their_step(finished):
    lines = read_jsonl(finished / 'metrics.jsonl')
    steps = [line['step'] for line in lines if 'loss' in line]
    assert steps == [2, 4, 6, 8, 10, 12]
    measured = [line for line in lines if 'rankme' in line]
    assert [line['step'] for line in measured] == [4, 8, 12]
    assert {'deviation', 'deviation_normalized', 'alignment', 'probe_accuracy', 'rankme_features'} <= set(measured[0])
    assert all(np.isfinite(v) for line in lines for v in line.values())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(finished, tmp_path, no_report):
    PREPARED.forget()
    assert run(tmp_path / 'again') == 0
    assert_same_run(finished, tmp_path / 'again')
    assert run(tmp_path / 'other', 'simclr', 'seed=1', 'train.stop_after_steps=2') == REQUEUE
    first, other = (read_jsonl(path / 'metrics.jsonl')[0] for path in (finished, tmp_path / 'other'))
    assert first['step'] == other['step'] == 2 and first['loss'] != other['loss']


def test_resuming_repeats_the_uninterrupted_run_to_the_bit(finished, tmp_path, no_report):
    for code in (REQUEUE, REQUEUE, 0):
        if code == 0:
            PREPARED.forget()
        assert run(tmp_path / 'cut', 'simclr', 'train.stop_after_steps=5') == code
    assert_same_run(finished, tmp_path / 'cut')


@pytest.mark.parametrize(
    'method, overrides',
    [
        pytest.param('moco_v2', (), marks=pytest.mark.slow),
        pytest.param('vicreg', ('data.feed=streaming',), marks=pytest.mark.slow),
        pytest.param('deepcluster_v2', ('train.steps_per_call=3',), marks=pytest.mark.slow),
        pytest.param('instdisc', ('method.negatives=64',), marks=pytest.mark.slow),
        pytest.param('invprop', (), marks=pytest.mark.slow),
        pytest.param('diet', (), marks=pytest.mark.slow),
        pytest.param('pirl', ('method.grid=2',), marks=pytest.mark.slow),  # 8 x 8 pixels here
        pytest.param('deepcluster', ('method.clusters=12', 'method.components=8'), marks=pytest.mark.slow),
        pytest.param('sela', ('method.clusters=8', 'method.heads=2'), marks=pytest.mark.slow),
        pytest.param('pcl', ('method.prototypes=(8, 16)', 'method.prototype_start=4'), marks=pytest.mark.slow),
    ],
)
def test_resuming_is_exact_for_queues_targets_streams_and_clusters(method, overrides, tmp_path, no_report):
    cut_and_whole(lambda path, stop: run(path, method, stop, *overrides), tmp_path)


def cut_and_whole(one, tmp_path):
    """`one(path, stop)` trains; a run that is cut in its second epoch ends as one that is not."""
    stop = 'train.stop_after_steps=7'
    assert one(tmp_path / 'whole', 'train.stop_after_steps=12') in (0, REQUEUE)
    assert one(tmp_path / 'cut', stop) == REQUEUE
    assert one(tmp_path / 'cut', stop) == 0
    assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


# What they keep beside networks: EMA targets of encoders and heads, centres, codebooks, prototypes with an optimiser of
# their own, the number of the step.
@pytest.mark.slow
@pytest.mark.parametrize(
    'method, overrides',
    [
        ('bootmae', ('method.warmup_steps=8',)),
        ('capi', ('method.prototypes=8',)),
        ('cmae', ()),
        ('data2vec', ()),
        ('dinosr', ('method.codes=8',)),
        ('dinov2', ('method.prototypes=8',)),
        ('gmml', ('method.layers=(1, 2)',)),
        ('ibot', ('method.prototypes=8',)),
        ('ijepa', ()),
        ('mae', ()),
        ('msn', ('method.prototypes=8',)),
    ],
)
def test_resuming_is_exact_for_masked_methods(method, overrides, tmp_path, no_report):
    cut_and_whole(
        lambda path, stop: loop.train(small.digits_config(method, *TOKENS, *overrides, stop), str(path)), tmp_path
    )


@pytest.mark.slow
def test_resuming_is_exact_for_several_masks_of_an_image(tmp_path, no_report):
    """data2vec 2.0 has no config on digits: data2vec's, with its decoder."""
    own = ('method.name=data2vec2', 'method.masks=2', 'method.length=2', 'method.layers=2', 'decoder.kind=convolution')
    cut_and_whole(
        lambda path, stop: loop.train(small.digits_config('data2vec', *own, *TOKENS, stop), str(path)), tmp_path
    )


@pytest.mark.slow
def test_resuming_is_exact_for_clusters_of_a_trained_encoder(finished, tmp_path, no_report):
    """SCAN and Unicom, whose neighbours and clusters are found once, and SCAN's self-labels, which begin with its head."""

    def one(name, origin):
        def train(path, stop):
            shorter = ('optimizer.warmup_epochs=1', 'train.epochs=3', 'train.log_every=2', 'checkpoint.every_epochs=1')
            fields = [*QUICK, *shorter, f'init_from={origin}', 'method.clusters=6', stop]
            return loop.train(configuration.load(f'experiments/continued/{name}.py', fields), str(path))

        return train

    cut_and_whole(one('digits_scan', finished), tmp_path / 'scan')
    cut_and_whole(one('digits_scan_self_label', tmp_path / 'scan' / 'whole'), tmp_path / 'labels')
    cut_and_whole(one('digits_unicom', finished), tmp_path / 'unicom')


@pytest.mark.slow
def test_a_chunked_run_resumes_to_the_bit(tmp_path, no_report):
    """Steps in a scan: dispatches start at absolute multiples, so the cut run scans the same chunks.

    Of a method with a queue and a target network.
    """
    chunk = 'train.steps_per_call=3'
    assert run(tmp_path / 'whole', 'moco_v2', chunk) == 0
    assert run(tmp_path / 'cut', 'moco_v2', chunk, 'train.stop_after_steps=4') == REQUEUE
    assert final_state(tmp_path / 'cut')[0] == 6
    assert run(tmp_path / 'cut', 'moco_v2', chunk) == 0
    assert_same_run(tmp_path / 'whole', tmp_path / 'cut')


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(finished, tmp_path, capsys, no_report):
    assert run(tmp_path / 'r', 'simclr', 'train.stop_after_steps=9') == REQUEUE
    newest = max(int(p.name) for p in (tmp_path / 'r' / 'checkpoints').iterdir() if p.name.isdigit())
    assert newest == 9
    for file in (tmp_path / 'r' / 'checkpoints' / str(newest)).rglob('*'):
        if file.is_file() and 'network' in file.parts:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert run(tmp_path / 'r') == 0
    out = capsys.readouterr().out
    assert 'warning: the checkpoint of step 9' in out and 'going on from step 8' in out
    assert_same_run(finished, tmp_path / 'r')


@pytest.mark.parametrize('devices', [2, 8])
@pytest.mark.slow
def test_devices_agree(finished, tmp_path, devices):
    assert run(tmp_path / 'many', 'simclr', 'train.stop_after_steps=4', devices=devices) == REQUEUE
    ours, theirs = (read_jsonl(p / 'metrics.jsonl')[0] for p in (tmp_path / 'many', finished))
    assert ours['step'] == theirs['step'] == 2
    np.testing.assert_allclose(ours['loss'], theirs['loss'], rtol=1e-4)  # after two steps of float32


def test_a_workdir_belongs_to_one_config(finished, tmp_path, no_report):
    with pytest.raises(UserError, match=r'belongs to another config; method.temperature: 0.5 -> 0.3'):
        run(finished, 'simclr', 'method.temperature=0.3')
    with pytest.raises(UserError, match='method.name'):
        run(finished, 'vicreg')
    before = (finished / 'metrics.jsonl').read_text()
    assert run(finished, 'simclr', 'train.log_every=2', 'checkpoint.keep=5') == 0  # fields that may change
    assert (finished / 'metrics.jsonl').read_text() == before


def test_a_workdir_of_an_older_version_goes_on_or_says_why_not(tmp_path, no_report):
    """A field that did not exist when a run began has the default that does what was done then."""
    assert run(tmp_path, 'simclr', 'train.stop_after_steps=4') == REQUEUE
    file = tmp_path / 'config.json'
    saved = json.loads(file.read_text())
    del saved['config']['train']['microbatches'], saved['config']['monitor']['patience']
    file.write_text(json.dumps(saved))
    assert run(tmp_path, 'simclr', 'train.stop_after_steps=4') == REQUEUE
    saved['config']['train']['gone'] = 1
    file.write_text(json.dumps(saved))
    with pytest.raises(UserError, match='damaged or of another version of this code: unknown field train.gone'):
        run(tmp_path, 'simclr')


def test_a_workdir_in_use_is_refused(tmp_path):
    lock = workdir.Lock(*workdir.make(tmp_path / 'r'))
    with pytest.raises(UserError, match=r'in use by another process \(pid \d+'):
        run(tmp_path / 'r')
    lock.release()


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1', 'SIGUSR2', 'SIGHUP'])
def test_a_signal_saves_and_leaves(name, tmp_path, monkeypatch):
    plain, number_sent = Run.next_chunk, getattr(signal, name)

    def at_step_three(self, number):
        if number == 3:
            signal.raise_signal(number_sent)
        return plain(self, number)

    monkeypatch.setattr(Run, 'next_chunk', at_step_three)
    assert threading.current_thread() is threading.main_thread()
    assert run(tmp_path / 'r') == REQUEUE
    assert final_state(tmp_path / 'r')[0] == 4
    assert signal.getsignal(number_sent) is signal.SIG_DFL


def test_nohup_is_left_as_it_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = preemption.Stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == stop._ask
        stop.restore()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize('name, asked', [('stdout', True), ('stderr', False)])
def test_output_that_nobody_reads_saves_and_leaves(name, asked, tmp_path, monkeypatch):
    """As `train | tee log`, of which Ctrl-C ends tee first: the run's next line has no reader."""
    end, begin = os.pipe()
    os.close(end)
    with os.fdopen(begin, 'w', buffering=1) as unread:
        monkeypatch.setattr(sys, name, unread)
        stop = preemption.Stop()
        with stop.outlasting_readers():
            for _ in range(3):
                print('a line', file=getattr(sys, name), flush=True)
            assert stop.asked == asked and getattr(sys, name) is not unread
        assert getattr(sys, name) is unread
        stop.restore()

    def no_room(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = preemption._Outlasting(SimpleNamespace(write=no_room), stop.unread)
    with pytest.raises(OSError, match='No space left'):  # another fault is not taken for that
        full.write('a line')


def test_a_run_whose_checkpoints_are_gone_keeps_its_results(tmp_path, no_report):
    assert run(tmp_path, 'simclr', 'train.epochs=1') == 0
    shutil.rmtree(tmp_path / 'checkpoints')
    (tmp_path / 'results.json').write_text('{}')
    lines = (tmp_path / 'metrics.jsonl').read_text()
    with pytest.raises(UserError, match='holds the results of a run whose checkpoints are gone'):
        run(tmp_path, 'simclr', 'train.epochs=1')
    assert (tmp_path / 'metrics.jsonl').read_text() == lines
    (tmp_path / 'checkpoints').rmdir()
    (tmp_path / 'checkpoints').symlink_to('/nowhere/scratch')
    with pytest.raises(UserError, match='checkpoints is a link to /nowhere/scratch, which is not there'):
        run(tmp_path, 'simclr', 'train.epochs=1')


@pytest.mark.parametrize('code', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(code, tmp_path, monkeypatch, capsys):
    def refused(*arguments):
        raise OSError(code, 'not here')

    monkeypatch.setattr(workdir.fcntl, 'flock', refused)
    root, lock = workdir.hold(tmp_path / 'r')
    assert 'lies on a file system without locks (not here)' in capsys.readouterr().out
    assert (root / '.lock').read_text() == lock.owner
    lock.release()


def test_data_may_move_and_may_not_change(tmp_path, no_report):
    images = np.asarray(np.asarray(small.images(80)) * 255, np.uint8)
    arrays = {'train_images': images, 'train_labels': np.arange(80) % 10}
    arrays |= {'test_images': images[:20], 'test_labels': np.arange(20) % 10}
    for place in ('a.npz', 'b.npz'):
        np.savez(tmp_path / place, **arrays)
    np.savez(tmp_path / 'other.npz', **{**arrays, 'train_images': images[::-1]})

    def at(place):
        fields = ('data.batch_size=16', 'train.epochs=1', 'train.stop_after_steps=1', 'optimizer.warmup_epochs=0')
        return run(tmp_path / 'r', 'simclr', f'data.source=npz:{tmp_path / place}', *fields)

    assert at('a.npz') == at('b.npz') == REQUEUE
    saved = json.loads((tmp_path / 'r' / 'config.json').read_text())
    assert saved['config']['data']['source'].endswith('b.npz')
    with pytest.raises(UserError, match=r'belongs to another config; data.source: .*b.npz.* -> .*other.npz'):
        at('other.npz')


def test_a_signal_during_the_report_leaves_it_for_the_next_time(tmp_path, monkeypatch):
    def slow(*arguments):
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError('the report went on')

    monkeypatch.setattr(loop.report, 'finish', slow)
    assert run(tmp_path / 'r') == REQUEUE
    assert final_state(tmp_path / 'r')[0] == 12
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finished = []
    monkeypatch.setattr(loop.report, 'finish', lambda *arguments: finished.append(arguments))
    assert run(tmp_path / 'r') == 0 and len(finished) == 1


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    def twice(self, number):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, 'next_chunk', twice)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'r')


@pytest.mark.slow
def test_numbers_that_go_wrong_stop_the_run_or_are_skipped(tmp_path):
    wild = ('optimizer.learning_rate=1e30', 'optimizer.name=sgd', 'optimizer.warmup_epochs=0')
    with pytest.raises(UserError, match=r'step \d+: not finite: .*loss.*nonfinite.json.*train.on_nonfinite'):
        run(tmp_path / 'stop', 'vicreg', *wild)
    found = json.loads((tmp_path / 'stop' / 'nonfinite.json').read_text())
    assert 'loss' in found['terms'] and len(set(found['indices'])) == 80 and 0 < found['step'] < 12
    assert run(tmp_path / 'skip', 'vicreg', *wild, 'train.on_nonfinite=skip', 'train.stop_after_steps=4') == REQUEUE
    state = final_state(tmp_path / 'skip')[1]
    assert int(state.step) == 4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    text = (tmp_path / 'skip' / 'metrics.jsonl').read_text()
    assert 'null' in text and 'NaN' not in text and 'Infinity' not in text
    # Written again by the next start, byte for byte.
    assert run(tmp_path / 'skip', 'vicreg', *wild, 'train.on_nonfinite=skip', 'train.stop_after_steps=1') == REQUEUE
    assert (tmp_path / 'skip' / 'metrics.jsonl').read_text().startswith(text)


def test_a_full_disk_stops_with_one_sentence_and_keeps_the_checkpoint(tmp_path, monkeypatch, capsys):
    assert run(tmp_path / 'r', 'simclr', 'train.stop_after_steps=4') == REQUEUE

    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Checkpoints, 'save', full)
    with pytest.raises(SystemExit) as stopped:
        command(lambda arguments: run(tmp_path / 'r'))()
    assert stopped.value.code == 2
    assert 'the disk is full' in capsys.readouterr().err
    monkeypatch.undo()
    assert final_state(tmp_path / 'r')[0] == 4


def test_load_encoder(finished):
    trained = selfsup.load_encoder(str(finished))
    images = np.asarray(small.images(5))
    features = trained(images)
    assert features.shape == (5, 16) and features.dtype == np.float32
    as_bytes = np.round(images * 255).astype(np.uint8)
    np.testing.assert_allclose(trained(as_bytes), features, atol=2e-2)
    assert trained.step == 12
    assert selfsup.load_encoder(str(finished), step=8).step == 8
    with pytest.raises(UserError, match=r'has no checkpoint of step 3; there are'):
        selfsup.load_encoder(str(finished), step=3)
    with pytest.raises(UserError, match='shape'):
        trained(images[0])


def test_an_encoder_is_loaded_without_an_optimiser(finished, monkeypatch):
    def refused(*arguments, **keywords):
        raise AssertionError('the optimiser was built')

    monkeypatch.setattr(encoder.build, 'build_optimizer', refused)
    read = []
    monkeypatch.setattr(
        checkpoint, '_read_part', lambda f, w, plain=checkpoint._read_part: (read.append(f), plain(f, w))[1]
    )
    assert selfsup.load_encoder(str(finished)).step == 12
    assert [folder.name for folder in read] == ['network']


def test_metrics_after_the_restored_step_are_cut(tmp_path):
    from selfsup.engine.writer import Writer

    (tmp_path / 'metrics.jsonl').write_text('{"step": 2, "loss": 1.0}\n{"step": 4, "loss": 2.0}\n{"step": 6, "lo')
    writer = Writer(tmp_path, step=2)
    writer.write(4, {'loss': 3.0})
    writer.close()
    assert read_jsonl(tmp_path / 'metrics.jsonl') == [{'step': 2, 'loss': 1.0}, {'step': 4, 'loss': 3.0}]
    (tmp_path / 'metrics.jsonl').write_text('{"step": 2\n{"step": 4}\n')
    with pytest.raises(UserError, match='line 1, is damaged'):
        read_jsonl(tmp_path / 'metrics.jsonl')


def test_config_round_trip(finished):
    config = encoder.read_config(finished)
    assert configuration.identity(config) == json.loads((finished / 'config.json').read_text())['identity']


def test_the_alarm_is_written_reported_and_by_config_stops_the_run(tmp_path, no_report, capsys):
    collapsing = ('method.variance_weight=0.0', 'optimizer.learning_rate=0.1', 'monitor.on_collapse=stop')
    with pytest.raises(UserError, match=r"step \d+: Collapsed: .*monitor.on_collapse='stop' ends the run"):
        run(tmp_path / 'r', 'vicreg', 'train.epochs=8', *collapsing)
    flags = [line['alarm/collapsed'] for line in read_jsonl(tmp_path / 'r' / 'metrics.jsonl') if 'rank' in line]
    assert flags[-2:] == [1, 1] and len(flags) < 8
    assert 'Collapsed: ' in capsys.readouterr().out


def test_a_report_ends_with_the_alarms_sentence(finished):
    report = (finished / 'report.md').read_text()
    assert 'Last measurement, step 12. ' in report and 'times as far apart as shuffled pairs' in report
    line = read_jsonl(finished / 'metrics.jsonl')[-1]
    assert alarm.verdict(line)
    for name in ('rank', 'alarm/flat'):  # of a damaged file
        assert alarm.verdict({k: v for k, v in line.items() if k != name}) == ''


@pytest.mark.slow
def test_early_stopping_ends_and_reports_a_run_and_repeats_exactly(tmp_path, no_report, capsys):
    # Embeddings that are only asked to be alike shrink from one measurement to the next.
    shrinking = ('method.variance_weight=0.0', 'method.covariance_weight=0.0', 'optimizer.learning_rate=0.05')
    stopping = ('train.epochs=8', *shrinking, 'checkpoint.best=deviation', 'monitor.patience=2')
    assert run(tmp_path / 'r', 'vicreg', *stopping) == 0
    out = capsys.readouterr().out
    assert 'deviation has not bettered in 2 measurements (monitor.patience)' in out
    step_ended = final_state(tmp_path / 'r')[0]
    assert step_ended < 32
    before = (tmp_path / 'r' / 'metrics.jsonl').read_text()
    assert run(tmp_path / 'r', 'vicreg', *stopping) == 0  # typed again, it only reports again
    assert (tmp_path / 'r' / 'metrics.jsonl').read_text() == before


def test_measurements_do_not_depend_on_the_chunks():
    prepared = PREPARED(small.digits_config('simclr', *QUICK), devices=1)
    whole = prepared.monitor()
    prepared.config = small.digits_config('simclr', *QUICK, 'evaluate.batch_size=15')
    numbers = [jax.device_get(monitor(prepared.start())) for monitor in (whole, Run.monitor(prepared))]
    for name, value in numbers[0].items():
        np.testing.assert_allclose(numbers[1][name], value, rtol=1e-4, err_msg=name)
