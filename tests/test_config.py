"""Configs: overrides, identity, and one clear sentence for everything that does not fit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import small
from ml_collections import ConfigDict
from selfsup import cli, config
from selfsup.config import fields
from selfsup.errors import UserError, command, nearest

FILE = 'experiments/digits/simclr.py'


def test_overrides_take_the_type_of_the_field():
    c = config.load(FILE, ['optimizer.learning_rate=1', 'data.batch_size=64', 'projector.widths=[8, 4]', 'seed=3'])
    assert c.optimizer.learning_rate == 1.0 and isinstance(c.optimizer.learning_rate, float)
    assert c.projector.widths == (8, 4) and c.seed == 3
    assert config.load(FILE, ['method.fuse_views=false']).method.fuse_views is False
    assert config.load(FILE, ['augment.views.both.noise.deviation=0']).augment.views.both.noise.deviation == 0.0


def test_another_method_brings_its_own_fields():
    c = config.load(FILE, ['method.queue=512', 'method.name=moco_v2'])
    assert c.method.queue == 512 and 'momentum' in c.method
    c = config.load(FILE, ['augment.recipe=simclr', 'augment.size=8', 'augment.views.both.flip=0.1'])
    assert c.augment.views.both.size == 8 and c.augment.views.both.flip == 0.1


def test_the_predictor_goes_with_a_method_that_has_one():
    file = 'experiments/digits/byol.py'
    assert config.load(file, ['method.name=simsiam']).predictor.widths == config.load(file).predictor.widths != ()
    assert config.load(file, ['method.name=simclr']).predictor.widths == ()


def test_identity_ignores_what_may_change_and_nothing_else():
    base = config.load(FILE)
    assert config.identity(base) == config.identity(config.load(FILE))
    for field in config.RESUMABLE:
        value = fields.flatten(base)[field]
        other = {'monitor.on_collapse': 'stop', 'parallel.shard': 'fsdp'}.get(field) or value + 1
        changed = config.load(FILE, [f'{field}={other}'])
        assert config.identity(changed) == config.identity(base), field
        assert config.differences(base, changed) == []
    for override in (
        'seed=1',
        'method.temperature=0.1',
        'augment.views.both.noise.deviation=0.2',
        'control=shuffled_pairs',
    ):
        assert config.identity(config.load(FILE, [override])) != config.identity(base), override


def test_a_saved_config_comes_back():
    import json

    c = config.load(FILE)
    again = config.from_dict(json.loads(config.to_json(c)))
    assert config.identity(again) == config.identity(c)
    assert again.projector.widths == c.projector.widths


def test_every_field_is_documented():
    lines = (
        (Path(config.__file__).parent / 'defaults.py')
        .read_text()
        .split('def defaults')[1]
        .split('\ndef ')[0]
        .splitlines()
    )
    for number, line in enumerate(lines):
        if lines[number - 1].strip().startswith('#'):
            continue
        assert not line.strip().startswith('c.') or '= ConfigDict()' in line or '= _head(' in line or '#' in line, line


BAD = {
    'unknown field': (['data.batchsize=3'], 'unknown field data.batchsize; did you mean data.batch_size'),
    'field without group': (['learning_rate=1.0'], 'did you mean .*optimizer.learning_rate'),
    'method field': (['method.temprature=0.1'], 'unknown field method.temprature; did you mean method.temperature'),
    'group': (['data=3'], 'data is a group of fields'),
    'no value': (['seed'], "'seed' is no override"),
    'type': (['data.batch_size=many'], "data.batch_size must be an int, as 256 is, not 'many'"),
    'float for int': (['train.epochs=1.5'], 'train.epochs must be an int'),
    'tuple of words': (['projector.widths=(8, "x")'], 'projector.widths'),
    'method': (['method.name=simclear'], "method.name='simclear' is unknown; did you mean simclr"),
    'model': (['model.name=resnet51'], "model.name='resnet51' is unknown; did you mean resnet50"),
    'recipe': (['augment.recipe=digit'], "augment.recipe='digit' is unknown; did you mean digits"),
    'optimizer': (['optimizer.name=adam'], "optimizer.name='adam' is unknown; did you mean adamw"),
    'control': (['control=shuffled'], "control='shuffled' is unknown; did you mean shuffled_pairs"),
    'negative': (['optimizer.weight_decay=-1'], 'optimizer.weight_decay must not be negative'),
    'zero': (['optimizer.learning_rate=0'], 'optimizer.learning_rate must be positive'),
    'share': (['data.holdout=1.5'], 'data.holdout is a share between 0 and 1'),
    'temperature': (['method.temperature=0'], 'method.temperature must be a number above 0'),
    'queue': (['method.name=moco_v2', 'method.queue=1000'], 'method.queue=1000 must be a multiple of data.batch_size=256; 768 is'),
    'groups': (['method.name=moco_v2', 'method.groups=7'], 'data.batch_size=256 cannot be cut into method.groups=7'),
    'warmup': (['train.epochs=5'], 'optimizer.warmup_epochs=10.0 is longer than train.epochs=5'),
    'probability': (['augment.recipe=simclr', 'augment.views.both.flip=2'], r'flip is a probability.*\[0, 1\], not 2'),
    'seed': (['seed=-1'], 'seed must not be negative'),
    'no predictor': (['method.name=byol'], 'predictor.widths is empty, and byol needs a predictor; widths must end in 128'),
    'predictor': (['predictor.widths=(8,)'], r'predictor.widths=\(8,\) is set, and simclr has no predictor'),
    'predictor type': (['method.name=byol', 'predictor.widths=(8, "x")'], 'predictor.widths must be a tuple of at least one integer from 1'),
    'predictor width': (['method.name=byol', 'predictor.widths=(8, 4)'], r'predictor.widths=\(8, 4\) must end in 128'),
    'prior': (['method.name=debiased', 'method.positive_prior=1.0'], r'method.positive_prior must be a number from 0 below 1, not 1.0'),
    'infinite': (['optimizer.learning_rate=1e999'], 'optimizer.learning_rate must be a finite 32-bit number, not inf'),
    'beyond a float': ([f'optimizer.learning_rate=1{"0" * 400}'], 'optimizer.learning_rate is too large for a float'),
    'beyond an int': (['train.log_every=2147483648'], r'train.log_every must be below 2\*\*31'),
    'processes': (['data.workers=100000'], 'data.workers must be at most 256'),
    'deviation': (['augment.std=(0.0,)'], 'augment.std must be positive'),
    'entries': (['augment.mean=(0.1, 0.2)'], 'augment.mean and augment.std must have one entry'),
    'counts': (['evaluate.label_counts=(0,)'], 'evaluate.label_counts must hold positive integers'),
    'model type': (['model.widths=(8, -1)'], 'model.widths must be a tuple of at least one integer from 1'),
    'heads': (['model.name=vit_ti', 'model.heads=5'], 'model.heads=5 must divide model.dim=192'),
    'range': (['augment.views.both.affine.scale=(2, 1)'], r'scale must be a range \(low, high\)'),
    'shear': (['augment.views.both.affine.shear=90'], r'shear must lie in \[0, 90\)'),
    'sigma': (['method.name=decoupled', 'method.sigma=0.0'], 'method.sigma must be a number above 0 or None, not 0.0'),
}  # fmt: skip


@pytest.mark.parametrize('overrides, message', BAD.values(), ids=BAD.keys())
def test_bad_overrides(overrides, message):
    with pytest.raises(UserError, match=message):
        config.load(FILE, overrides)


BAD_FILES = {
    'absent': (None, 'no config file'),
    'syntax': ('def get_config(:', 'cannot be run as a config: SyntaxError'),
    'no function': ('x = 1', r'has no function get_config\(\)'),
    'failing': ('def get_config():\n    raise KeyError("x")', r'get_config\(\) of .* failed: KeyError'),
    'type': ('def get_config():\n    return {}', 'must return the ConfigDict'),
    'coroutine': ('async def get_config():\n    return {}', 'must return the ConfigDict'),
    'field': (
        'from selfsup.config import defaults\ndef get_config():\n    c = defaults()\n    c.data.sorce = "x"\n    return c',
        'unknown field data.sorce; did you mean data.source',
    ),
    'wrong type': (
        'from selfsup.config import defaults\ndef get_config():\n    c = defaults()\n    c.train.epochs = 1.5\n    return c',
        'failed: TypeError.*epochs',
    ),
}


@pytest.mark.parametrize('text, message', BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_files(text, message, tmp_path):
    file = tmp_path / 'c.py'
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        config.load(str(file))


def test_command_line():
    options = {'config': None, 'workdir': 'runs', 'fast': 'false'}
    values, overrides = cli.parse(['--config=a.py', '--fast', '--config.seed', '3', '--config.a.b=c=d'], options, 'u')
    assert values == {'config': 'a.py', 'workdir': 'runs', 'fast': 'true'}
    assert overrides == ['seed=3', 'a.b=c=d']


BAD_ARGUMENTS = {
    'word': (['train'], "'train' is no option"),
    'unknown': (['--confg=a'], '--confg is no option; did you mean config'),
    'missing': ([], '--config is missing'),
    'no value': (['--config'], '--config needs a value'),
    'no override': (['--config.seed'], '--config.seed needs a value'),
    'flag': (['--config=a', '--fast=yes'], '--fast is a flag'),
}


@pytest.mark.parametrize('arguments, message', BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
def test_bad_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        cli.parse(arguments, {'config': None, 'fast': 'false'}, 'usage: x')


def test_nearest_lists_what_is_known_when_nothing_is_close():
    assert nearest('zzz', ['alpha', 'beta']) == '; known are alpha, beta'


def test_a_user_error_is_one_line_and_exit_code_2(capsys, monkeypatch):
    def main(arguments):
        raise UserError('the thing is wrong')

    with pytest.raises(SystemExit) as stopped:
        command(main)()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == 'error: the thing is wrong\n'


def test_the_real_command_has_no_traceback(tmp_path):
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, '-m', 'selfsup.train', f'--config={root / FILE}', f'--workdir={tmp_path}', '--config.data.source=npz:/nowhere.npz'],
        capture_output=True, text=True, timeout=120, cwd=root,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == 'error: data.source=npz:/nowhere.npz: there is no such file'
    assert 'Traceback' not in done.stderr


def test_configs_import_no_jax():
    code = f'import runpy, sys; runpy.run_path({FILE!r})["get_config"](); sys.exit("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parent.parent, timeout=120).returncode == 0


def test_small_configs_are_valid():
    assert small.digits_config('moco_v2').method.queue == 640


def test_a_config_saved_before_a_field_existed_gets_its_default():
    saved = json.loads(config.to_json(config.load(FILE)))
    del saved['monitor']['patience'], saved['init_from']
    assert config.identity(config.from_dict(saved)) == config.identity(config.load(FILE))


@pytest.mark.parametrize('field', ['method.name', 'model.name', 'augment.recipe', 'control', 'optimizer.name'])
def test_a_group_in_the_place_of_a_name_is_refused(field):
    c = config.defaults()
    group, _, name = field.rpartition('.')
    with c.ignore_type():
        (c[group] if group else c)[name] = ConfigDict({'a': 1})
    with pytest.raises(UserError, match=field):
        config.with_overrides(c, [])
