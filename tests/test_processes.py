"""Runs of several processes on this machine: agreement, resuming, signals, and a process that is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import small
import tolerances
from selfsup import launch, parallel
from selfsup import train as train_command
from selfsup.data import loader
from selfsup.engine import encoder, loop, multihost
from selfsup.engine.checkpoint import Checkpoints
from selfsup.engine.run import Run
from selfsup.engine.writer import read_jsonl
from selfsup.errors import REQUEUE, UserError
from selfsup.methods.base import through

# Batch-norm takes the bias before it away: its gradient is rounding, of which AdamW makes steps of the learning rate.
FIELDS = [*small.digits_fields(), 'monitor.max_samples=64', 'projector.hidden_bias=False']
LONG = ('train.epochs=3000',)  # more than any test waits for


@contextlib.contextmanager
def begun(path, processes, devices, *overrides):
    """The command, started; it does not outlive the test."""
    arguments = [
        '--config=experiments/digits/simclr.py',
        f'--workdir={path}',
        f'--processes={processes}',
        f'--host-devices={devices}',
        *(f'--config.{field}' for field in (*FIELDS, *overrides)),
    ]
    flags = '--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false'
    command = subprocess.Popen(
        [sys.executable, '-m', 'selfsup.train', *arguments],
        env={**os.environ, 'XLA_FLAGS': flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with command:
        try:
            yield command
        finally:
            command.kill()  # its processes end with it


def train(path, processes, devices, *overrides):
    """Exit code and output of the command."""
    with begun(path, processes, devices, *overrides) as command:
        out = command.communicate(timeout=900)[0]
    return command.returncode, out


def alone(path, *overrides):
    """The same run in this process, on eight devices."""
    from selfsup import config

    resolved = config.load('experiments/digits/simclr.py', [*FIELDS, *overrides])
    return loop.train(resolved, str(path), devices=8)


def final(path):
    run = Run(encoder.read_config(path), devices=1)
    checkpoints = Checkpoints(path)
    step, state = checkpoints.restore(run.shapes)
    checkpoints.close()
    return step, state.params


IMAGES = 64  # of the held-out part that are measured; a batch has 320


def assert_alike(path, reference):
    (step, params), (expected_step, expected) = final(path), final(reference)
    assert step == expected_step
    assert small.tree_distance(params, expected) < tolerances.PROCESSES
    lines, expected_lines = (read_jsonl(p / 'metrics.jsonl') for p in (path, reference))
    assert [line['step'] for line in lines] == [line['step'] for line in expected_lines]
    for line, wanted in zip(lines, expected_lines, strict=True):
        assert line.keys() == wanted.keys()
        for name, value in line.items():
            # An accuracy is a count: rounding moves an image between two classes whose scores are nearly equal.
            least = 1 / IMAGES if name.startswith('probe_accuracy') else 1e-6
            assert value == pytest.approx(wanted[name], rel=tolerances.PROCESSES, abs=least), (line['step'], name)


def members(command):
    """Process ids of a run's processes, in order."""
    children = Path(f'/proc/{command.pid}/task/{command.pid}/children').read_text().split()
    return [int(child) for child in children]


def alive(process):
    try:  # one that nobody waits for yet has ended all the same
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(command, path, step):
    """Until the run has written a line of a step; minutes on a busy machine."""
    file = path / 'metrics.jsonl'
    while not file.exists() or f'"step": {step},' not in file.read_text():
        assert command.poll() is None, command.communicate()[0]
        time.sleep(0.1)


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp('one') / 'run'
    assert alone(path) == 0
    return path


@pytest.mark.slow
@pytest.mark.parametrize('processes, devices', [(2, 4), (4, 2)])
def test_processes_times_devices_agree(processes, devices, tmp_path, reference):
    code, out = train(tmp_path / 'r', processes, devices)
    assert code == 0, out
    assert_alike(tmp_path / 'r', reference)
    assert out.count('report: ') == 1 and out.count('images to train on') == 1  # what is said is said once
    scores = (json.loads((p / 'results.json').read_text())['scores'] for p in (tmp_path / 'r', reference))
    ours, theirs = (np.array([[*row.values()] for row in table.values()]) for table in scores)
    np.testing.assert_allclose(ours, theirs, atol=0.03)  # some images of 359 may fall to the other side


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, reference):
    path = tmp_path / 'r'
    code, out = train(path, 2, 4, 'train.stop_after_steps=4')
    assert code == REQUEUE, out
    assert alone(path, 'train.stop_after_steps=4') == REQUEUE
    # The newest checkpoint is damaged: all processes take the one before, and write its successors again.
    for file in (path / 'checkpoints' / '8').rglob('*'):
        if file.is_file() and 'network' in file.parts:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    code, out = train(path, 2, 4)
    assert code == 0 and 'going on from step 4' in out, out
    assert_alike(path, reference)


@pytest.mark.slow
@pytest.mark.parametrize('number, victim', [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_a_signal_at_one_process_stops_all_at_one_step(number, victim, tmp_path):
    path = tmp_path / 'r'
    with begun(path, 2, 4, *LONG) as command:
        wait_for(command, path, 8)  # nothing is compiled any more
        os.kill(members(command)[victim], number)
        asked = time.monotonic()
        out = command.communicate()[0]
    assert command.returncode == REQUEUE, out
    assert time.monotonic() - asked < 10
    stopped = int(out.split('stopped at step ')[1].split()[0])
    assert read_jsonl(path / 'metrics.jsonl')[-1]['step'] in (stopped - 1, stopped)  # a line every other step
    assert max(int(p.name) for p in (path / 'checkpoints').iterdir()) == stopped


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_signal_during_the_report_leaves_it_at_all(victim, tmp_path):
    path = tmp_path / 'r'
    with begun(path, 2, 1) as command:
        while not (path / 'checkpoints' / '12').exists():  # the last: what comes now is the report
            assert command.poll() is None, command.communicate()[0]
            time.sleep(0.05)
        os.kill(members(command)[victim], signal.SIGTERM)
        out = command.communicate()[0]
    assert command.returncode == REQUEUE and not (path / 'report.md').exists(), out
    code, out = train(path, 2, 1)
    assert code == 0 and out.count('report: ') == 1 and (path / 'report.md').exists(), out


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_lost_process_ends_the_others(victim, tmp_path):
    with begun(tmp_path / 'r', 2, 4, *LONG) as command:
        wait_for(command, tmp_path / 'r', 4)
        running = members(command)
        os.kill(running[victim], signal.SIGKILL)
        out = command.communicate(timeout=launch.GRACE + 20)[0]
    assert command.returncode == 128 + signal.SIGKILL, out
    assert not any(map(alive, running))


@pytest.mark.slow
def test_processes_end_with_the_one_that_launched_them(tmp_path):
    with begun(tmp_path / 'r', 2, 1, *LONG) as command:
        wait_for(command, tmp_path / 'r', 4)
        running = members(command)
        command.kill()
        deadline = time.monotonic() + launch.LOST_AFTER
        while any(map(alive, running)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(map(alive, running))


@pytest.mark.slow
def test_the_clock_stops_all_and_an_error_at_all_is_told_and_ends(tmp_path):
    path = tmp_path / 'r'
    code, out = train(path, 2, 1, *LONG, 'train.stop_after_minutes=0.02')
    assert code == REQUEUE and 'run the same command to go on' in out, out
    code, out = train(path, 2, 1, *LONG, 'seed=1')
    assert code == 2 and 'belongs to another config; seed: 0 -> 1' in out and 'Traceback' not in out, out
    code, out = train(tmp_path / 'odd', 3, 1)
    assert code == 2 and 'data.batch_size=320 must be a multiple of the 3 devices of the 3 processes' in out, out


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--processes=2', '--distributed'], 'leave --distributed out'),
        (['--processes=two'], '--processes must be a whole number'),
        (['--coordinator=host:1'], '--coordinator needs --coordinator=host:port, --process-id and --process-count'),
        (['--process-id=0', '--process-count=1'], '--process-id needs'),
        (['--coordinator=host:1', '--process-id=2', '--process-count=2'], '--process-id=2 must be below'),
        (['--coordinator=host', '--process-id=0', '--process-count=2'], '--coordinator=host must be the host and port'),
        (['--distributed'], '--distributed: the processes cannot be joined'),
    ],
)
def test_options_that_cannot_be_met_end_in_a_sentence(arguments, message, tmp_path):
    common = ['--config=experiments/digits/simclr.py', f'--workdir={tmp_path}']
    with pytest.raises(UserError, match=message):
        train_command.main([*common, *arguments])


def test_the_processes_run_the_command_without_processes():
    rest = ['--workdir=a', '--config', 'b']
    for given in (
        ['--processes=2', *rest],
        [*rest, '--processes', '2'],
        ['--workdir=a', '--processes', '2', *rest[1:]],
    ):
        assert launch._without_processes(given) == rest


def test_launched_processes_are_told_apart_and_the_first_failure_counts(capfd):
    code = "import sys, time; i = int(sys.argv[-2][-1]); print('out', i); print('err', i, file=sys.stderr); {}"
    cases = [
        ('sys.exit(0)', 0),
        ('sys.exit(75)', REQUEUE),
        ('sys.exit(75 * i)', REQUEUE),
        ('i or time.sleep(0.5); sys.exit(2 if i else 75)', 2),
    ]
    for ending, expected in cases:
        assert launch.start([sys.executable, '-c', code.format(ending)], 2) == expected, ending
        said = capfd.readouterr()
        assert said.out == 'out 0\n' and 'process 1: err 1\n' in said.err and 'process 0' not in said.err


def test_output_that_nobody_reads_holds_nothing_up(monkeypatch):
    def write(text):
        raise BrokenPipeError

    monkeypatch.setattr(sys.stderr, 'write', write)
    assert launch.start([sys.executable, '-c', "import sys; print('err', file=sys.stderr); sys.exit(3)"], 2) == 3


def test_a_process_that_hangs_after_another_failed_is_ended(monkeypatch):
    monkeypatch.setattr(launch, 'GRACE', 0.2)
    code = "import sys, time; sys.exit(3) if sys.argv[-2][-1] == '1' else time.sleep(60)"
    begun = time.monotonic()
    assert launch.start([sys.executable, '-c', code], 2) == 3
    assert time.monotonic() - begun < 20


def test_signals_are_passed_on():
    code = 'import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(75)); time.sleep(60)'
    threading.Timer(1.5, signal.raise_signal, (signal.SIGTERM,)).start()
    assert launch.start([sys.executable, '-c', code], 2) == REQUEUE
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_ballot_is_the_answer_of_any_device():
    mesh = parallel.data_mesh(8)
    ballot = multihost.Ballot(mesh, 2)
    assert [int(x) for x in ballot(False, False)] == [0, 0]
    assert [int(x) for x in ballot(True, False)] == [1, 0]
    votes = np.zeros((8, 2), np.int32)
    votes[5, 1] = 1  # as another process would
    assert [int(x) for x in ballot._any(jax.device_put(votes, parallel.sharded(mesh)))] == [0, 1]


def test_one_process_asks_nobody():
    value = object()
    assert multihost.from_first(lambda: value) is value
    assert multihost.everywhere(True) and not multihost.everywhere(False)
    multihost.check_same({'config': 'a'})
    with pytest.raises(UserError, match='x'):
        multihost.from_first(lambda: (_ for _ in ()).throw(UserError('x')))


def test_a_process_started_with_something_else_is_named(monkeypatch):
    monkeypatch.setattr(multihost, 'from_first', lambda make: {'config': 'a: 1\nb: 2'})
    multihost.check_same({'config': 'a: 1\nb: 2'})
    with pytest.raises(UserError, match='process 0 has another config than process 0: b: 3 instead of b: 2'):
        multihost.check_same({'config': 'a: 1\nb: 3'})


def test_devices_that_are_shared_unevenly_are_refused(monkeypatch):
    class Device:
        def __init__(self, process):
            self.process_index = process

    class Mesh:
        shape = {'data': 4}  # noqa: RUF012
        devices = np.array([Device(0), Device(0), Device(0), Device(1)])

    with pytest.raises(UserError, match='as many devices as the others, and they have 3, 1'):
        loader.make_feed('auto', list(range(8)), seed=0, batch_size=8, mesh=Mesh())


def test_views_that_run_together_stay_on_their_devices():
    mesh = parallel.data_mesh(8)
    views = tuple(jax.device_put(np.zeros((16, 4, 4, 1), np.float32) + v, parallel.sharded(mesh)) for v in range(3))

    @jax.jit
    def fused(*views):
        return through(lambda x, state: (2 * x, state), views, None, fuse=True)[0]

    text = fused.lower(*views).compile().as_text()
    assert not any(kind in text for kind in ('all-gather', 'all-to-all', 'collective-permute', 'all-reduce'))
    for number, out in enumerate(fused(*views)):
        np.testing.assert_array_equal(out, np.full((16, 4, 4, 1), 2 * number))
