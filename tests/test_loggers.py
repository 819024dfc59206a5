"""Metrics beside metrics.jsonl: what each service is told, resumed runs, failures."""

import os
import sys
import types

import pytest
from selfsup import config
from selfsup.config.defaults import LOGGERS as NAMES
from selfsup.engine import dry_run, loggers
from selfsup.engine.loggers import LOGGERS, Loggers
from selfsup.engine.writer import Writer
from selfsup.errors import UserError

LINES = [(2, {'loss': 1.5, 'rankme': 3.0}), (4, {'loss': 1.0})]


def resolved(*names):
    return config.load('experiments/digits/simclr.py', [f'log.to={tuple(names)}', 'log.project=digits', 'log.name=try'])


class Service:
    """What wandb and trackio share: init gives a run with log and finish."""

    def __init__(self):
        self.begun, self.logged, self.ended = [], [], 0

    def init(self, **keywords):
        self.begun.append(keywords)
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.ended += 1


class Client:
    """The part of mlflow's client that is used."""

    params, metrics, runs, ended = [], [], [], []

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f'experiment {name}'

    def create_run(self, experiment, run_name):
        self.runs.append((experiment, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id='run 1'))

    def log_batch(self, run, params=(), metrics=()):
        assert run == 'run 1' and len(params) <= 100
        self.params.extend(params)
        self.metrics.extend(metrics)

    def set_terminated(self, run):
        self.ended.append(run)


@pytest.fixture
def services(monkeypatch):
    entities = types.SimpleNamespace(Param=lambda *p: p, Metric=lambda *m: m)
    for field in ('params', 'metrics', 'runs', 'ended'):
        monkeypatch.setattr(Client, field, [])
    found = {'wandb': Service(), 'trackio': Service(), 'mlflow': types.SimpleNamespace(MlflowClient=Client)}
    for name, module in {**found, 'mlflow.entities': entities}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return found


def session(folder, *names):
    opened = Loggers(folder, resolved(*names))
    for step, values in LINES:
        opened.log(step, values)
    opened.close()


@pytest.mark.parametrize('name', ['wandb', 'trackio'])
def test_a_second_session_goes_on_with_the_same_run(name, services, tmp_path):
    for _ in range(2):
        session(tmp_path, name)
    service = services[name]
    assert service.logged == LINES * 2 and service.ended == 2
    first, second = service.begun
    identity = 'id' if name == 'wandb' else 'name'
    assert first[identity] == second[identity] and first['resume'] == 'allow' and first['project'] == 'digits'
    assert first['name'].startswith('try')
    assert first['config']['method.name'] == 'simclr' and first['config']['model.widths'] == '(32, 64, 128)'


def test_mlflow_is_told_the_config_once(services, tmp_path):
    for _ in range(2):
        session(tmp_path, 'mlflow')
    assert Client.runs == [('experiment digits', 'try')] and Client.ended == ['run 1'] * 2
    assert dict(Client.params)['method.name'] == 'simclr' and len(dict(Client.params)) == len(Client.params)
    assert [(name, value, step) for name, value, _, step in Client.metrics] == 2 * [
        ('loss', 1.5, 2), ('rankme', 3.0, 2), ('loss', 1.0, 4),
    ]  # fmt: skip


def test_one_that_fails_is_left_out_and_the_files_hold_everything(services, tmp_path, capsys):
    def fails(values, step):
        raise ConnectionError('no network\nat all')

    services['wandb'].log = fails
    writer = Writer(tmp_path, step=0, loggers=Loggers(tmp_path, resolved('wandb', 'trackio')))
    for step, values in LINES:
        writer.write(step, values)
    writer.close()
    said = capsys.readouterr().out
    assert (
        said.count('\n') == 1
        and 'log.to: wandb fails and is left out from here on: ConnectionError: no network' in said
    )
    assert services['trackio'].logged == LINES
    assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 2


def test_one_that_cannot_be_opened_is_named(services, tmp_path, monkeypatch):
    def fails(**keywords):
        raise PermissionError('no key')

    services['wandb'].init = fails
    with pytest.raises(UserError, match='log.to: wandb cannot be opened: PermissionError: no key'):
        Loggers(tmp_path, resolved('wandb'))


def test_events_are_written_to_a_folder_whose_name_is_no_text(tmp_path):
    """Bytes that are no UTF-8, which a file system allows and TensorBoard's writer does not."""
    workdir = tmp_path / os.fsdecode(b'run\xff')
    workdir.mkdir()
    log, close = loggers.tensorboard(loggers.About(workdir, 'p', 'n', None, {}, lambda identity: None))
    log(3, {'loss': 1.0})
    close()
    (file,) = (workdir / 'tensorboard').iterdir()
    assert file.stat().st_size > 50 and not [f for f in os.listdir('/proc/self/fd') if 'tensorboard' in _target(f)]


def _target(descriptor):
    try:
        return os.readlink(f'/proc/self/fd/{descriptor}')
    except OSError:
        return ''


def test_what_there_is_not_is_refused(monkeypatch):
    assert tuple(LOGGERS) == NAMES
    with pytest.raises(UserError, match="log.to: 'wandbb' is unknown; did you mean wandb"):
        resolved('wandbb')
    monkeypatch.setattr(loggers.importlib.util, 'find_spec', lambda name: None)
    missing = r"log.to: the package wandb is not installed; pip install 'selfsup\[loggers\]'"
    for call in (lambda: loggers.check_installed(('wandb',)), lambda: dry_run.dry_run(resolved('wandb'))):
        with pytest.raises(UserError, match=missing):
            call()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['wandb', 'mlflow', 'trackio'])
def test_the_real_package_offline(name, tmp_path, monkeypatch):
    pytest.importorskip(name, reason='the extra [loggers] is not installed')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'file:{tmp_path}/mlruns')
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    monkeypatch.setenv('TRACKIO_DIR', str(tmp_path / 'trackio'))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        session(tmp_path, name)
    assert list(tmp_path.rglob('*'))
