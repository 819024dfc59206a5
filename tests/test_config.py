"""Configs: overrides, identity, and a one-line error for everything that does not fit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import small
from ml_collections import ConfigDict
from selfsup import cli, config, errors, signature
from selfsup.config import fields
from selfsup.config.domains import field_domains
from selfsup.engine import build
from selfsup.errors import UserError, command, nearest
from selfsup.methods import METHODS
from selfsup.models import ENCODERS, NETWORKS
from selfsup.optim import OPTIMIZERS, Group, optimizer
from selfsup.signature import Count, ProperShare

FILE = 'experiments/digits/simclr.py'


def test_numbers_whose_default_is_none_take_any_number_twice():
    once = config.load('experiments/digits/vicreg.py', ['optimizer.warmup_epochs=1', 'optimizer.warmup_epochs=2.5'])
    assert once.optimizer.warmup_epochs == 2.5


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


OTHER = {
    'monitor.on_collapse': 'stop', 'parallel.shard': 'fsdp', 'log.to': "('mlflow',)", 'log.project': 'mine', 'log.name': 'a',
}  # fmt: skip


def test_identity_ignores_what_may_change_and_nothing_else():
    base = config.load(FILE)
    assert config.identity(base) == config.identity(config.load(FILE))
    for field in config.RESUMABLE:
        value = fields.flatten(base)[field]
        other = OTHER.get(field) or value + 1
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


def test_a_config_of_before_there_were_kinds_loads_and_keeps_its_identity():
    c = config.load('experiments/digits/byol.py')
    saved = json.loads(config.to_json(c))
    assert saved['projector'].pop('kind') == saved['predictor'].pop('kind') == 'mlp'
    assert config.identity(config.from_dict(saved)) == config.identity(c)


def test_the_warm_up_fits_a_short_run_unless_it_is_set():
    plain = config.defaults()
    assert [config.with_overrides(plain, [f'train.epochs={n}']).optimizer.warmup_epochs for n in (3, 50)] == [3.0, 10.0]
    again = config.with_overrides(config.with_overrides(plain, []), [])
    assert again.optimizer.warmup_epochs == 10.0
    with pytest.raises(UserError, match='optimizer.warmup_epochs=4.0 must be at most train.epochs=3'):
        config.with_overrides(plain, ['train.epochs=3', 'optimizer.warmup_epochs=4'])


def test_a_schedule_moves_a_number_of_the_method():
    c = config.load(FILE, ['schedules.temperature=1'])
    assert c.schedules.temperature == 1.0 and isinstance(c.schedules.temperature, float)
    assert config.identity(c) != config.identity(config.load(FILE))
    assert config.identity(config.from_dict(json.loads(config.to_json(c)))) == config.identity(c)
    c = config.load(FILE, ['method.name=moco_v2'])
    c.schedules.momentum = 1.0
    with pytest.raises(UserError, match='unknown field schedules.momentum; set method.momentum_final'):
        config.with_overrides(c, [])


def _masked(encoder, decoder, *, ratio: ProperShare = 0.75, normalize: bool = True, axis_name=None):
    return encoder, decoder, ratio


class _Decoder(NamedTuple):
    dim: Count
    depth: Count = 4
    dtype: object = None


def test_a_method_has_the_networks_of_its_signature(monkeypatch):
    monkeypatch.setitem(METHODS, 'masked', _masked)
    monkeypatch.setitem(NETWORKS, 'tokens', _Decoder)
    names = ['method.name=masked', 'model.name=convnet', 'decoder.kind=tokens']
    c = config.load('experiments/digits/byol.py', [*names, 'decoder.dim=8'])
    assert c.decoder.to_dict() == {'kind': 'tokens', 'dim': 8, 'depth': 4} and c.predictor.widths == ()
    assert build.build_method(c, steps=1)[1:] == (_Decoder(8), 0.75)
    saved = config.from_dict(json.loads(config.to_json(c)))
    assert config.identity(saved) == config.identity(c)
    for overrides, message in (
        ([*names], 'decoder.dim is missing; it must be an integer from 1'),
        ([*names, 'decoder.dim=0'], 'decoder.dim must be an integer from 1, not 0'),
        ([*names, 'decoder.dim=8', 'decoder.widths=(8,)'], 'unknown field decoder.widths'),
        ([*names, 'decoder.dim=8', 'projector.widths=(8,)'], 'is set, but masked has no projector; leave it at'),
        (
            ['method.name=masked', 'decoder.kind=mlp', 'decoder.widths=(8,)', 'decoder.activation=tanh'],
            "activation='tanh' is unknown",
        ),
    ):
        with pytest.raises(UserError, match=message):
            config.load(FILE, overrides)


def _constructors():
    tables = {'methods': METHODS, 'encoders': ENCODERS, 'networks': NETWORKS, 'optimizers': OPTIMIZERS}
    rows = {f'{table}.{name}': row for table, rows in tables.items() for name, row in rows.items()}
    return {**rows, 'optimizer': optimizer, 'group': Group}


@pytest.mark.parametrize('constructor', _constructors().values(), ids=_constructors().keys())
def test_every_number_of_a_signature_has_a_domain_that_holds_its_default(constructor):
    domains = signature.domains(constructor)
    for name, default in signature.keywords(constructor).items():
        domain = domains.get(name) or domains.get(name.removesuffix('_final'))
        if domain is None:
            # A plain switch, or the groups of an optimiser, which have a signature of their own.
            assert isinstance(default, bool) or name == 'groups', f'{name}={default!r} has no domain'
        else:
            assert domain.holds(default), f'{name}={default!r} must be {domain.describe()}'


def test_every_number_of_the_defaults_has_a_domain_that_holds_it():
    flat, domains = fields.flatten(config.with_overrides(config.defaults(), [])), field_domains()
    others = ('method.', 'model.', 'projector.', 'predictor.', 'decoder.', 'augment.views.')
    words = {
        'branch_from',
        'init_from',
        'init_networks',
        'data.source',
        'data.dir',
        'data.probe_source',
        'data.subset',
        'augment.recipe',
        'optimizer.name',
        'log.to',
        'log.project',
        'log.name',
        'checkpoint.best',
    }
    for field, value in flat.items():
        if field.startswith(others) or field in words or isinstance(value, bool) or field == 'monitor.measures':
            continue
        assert domains[field].holds(value), f'{field}={value!r} must be {domains[field].describe()}'
    assert domains.keys() <= flat.keys()
    assert all(flat[f'optimizer.{n}'] == v for row in OPTIMIZERS.values() for n, v in signature.keywords(row).items())


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
    'no value': (['seed'], "'seed' has no value"),
    'type': (['data.batch_size=many'], "data.batch_size must be an int, as 256 is, not 'many'"),
    'float for int': (['train.epochs=1.5'], 'train.epochs must be an int'),
    'a cool-down of a cosine': (['optimizer.cooldown_epochs=1'], "cooldown_epochs=1.0 needs optimizer.schedule='constant'"),
    'tuple of words': (['projector.widths=(8, "x")'], 'projector.widths'),
    'method': (['method.name=simclear'], "method.name='simclear' is unknown; did you mean simclr"),
    'model': (['model.name=resnet51'], "model.name='resnet51' is unknown; did you mean resnet50"),
    'recipe': (['augment.recipe=digit'], "augment.recipe='digit' is unknown; did you mean digits"),
    'optimizer': (['optimizer.name=adam'], "optimizer.name='adam' is unknown; did you mean adamw"),
    'control': (['control=shuffled'], "control='shuffled' is unknown; did you mean shuffled_pairs"),
    'negative': (['optimizer.weight_decay=-1'], 'optimizer.weight_decay must be a number from 0, not -1.0'),
    'zero': (['optimizer.learning_rate=0'], 'optimizer.learning_rate must be a number above 0, not 0.0'),
    'share': (['data.holdout=1.5'], 'data.holdout must be a number above 0 and below 1, not 1.5'),
    'temperature': (['method.temperature=0'], 'method.temperature must be a number above 0, not 0.0'),
    'column groups': (['method.name=whitened_contrastive', 'method.column_groups=100'], 'method.column_groups=100 must divide the 128 dims of projector.widths'),
    'rows of a group': (['method.name=whitened_contrastive', 'method.column_groups=2', 'method.eps=0.0', 'data.batch_size=32'], 'data.batch_size=32 rows cannot whiten 64 columns of a group'),
    'queue': (['method.name=moco_v2', 'method.queue=1000'], 'method.queue=1000 must be a multiple of data.batch_size=256; 768 is'),
    'groups': (['method.name=moco_v2', 'method.groups=7'], 'method.groups=7 must cut data.batch_size=256 into equal groups'),
    'warmup': (['train.epochs=5', 'optimizer.warmup_epochs=6'], 'optimizer.warmup_epochs=6.0 must be at most train.epochs=5'),
    'probability': (['augment.recipe=simclr', 'augment.views.both.flip=2'], r'flip is a probability.*\[0, 1\], not 2'),
    'seed': (['seed=-1'], 'seed must be an integer from 0, not -1'),
    'no predictor': (['method.name=byol'], r'predictor.widths=\(\) must be the widths of the predictor of byol; its last must be 128'),
    'predictor': (['predictor.widths=(8,)'], r'predictor.widths=\(8,\) is set, but simclr has no predictor; leave it at \(\)'),
    'predictor type': (['method.name=byol', 'predictor.widths=(8, "x")'], 'predictor.widths must be a tuple of at least one integer from 1'),
    'predictor width': (['method.name=byol', 'predictor.widths=(8, 4)'], r'predictor.widths=\(8, 4\) must end in 128'),
    'prior': (['method.name=debiased', 'method.positive_prior=1.0'], 'method.positive_prior must be a number from 0 and below 1, not 1.0'),
    'infinite': (['optimizer.learning_rate=1e999'], 'optimizer.learning_rate must be a finite 32-bit number, not inf'),
    'beyond a float': ([f'optimizer.learning_rate=1{"0" * 400}'], 'optimizer.learning_rate is too large for a float'),
    'beyond an int': (['train.log_every=2147483648'], r'train.log_every must be below 2\*\*31'),
    'processes': (['data.workers=100000'], 'data.workers must be an integer from 0 to 256, not 100000'),
    'deviation': (['augment.std=(0.0,)'], 'augment.std must be a tuple of at least one number above 0'),
    'entries': (['augment.mean=(0.1, 0.2)'], r'augment.mean=\(0.1, 0.2\) and augment.std=\(0.5,\) must have one entry'),
    'counts': (['evaluate.label_counts=(0,)'], 'evaluate.label_counts must be a tuple of integers from 1, or'),
    'model type': (['model.widths=(8, -1)'], 'model.widths must be a tuple of at least one integer from 1'),
    'heads': (['model.name=vit_ti', 'model.heads=5'], 'model.heads=5 must divide model.dim=192'),
    'range': (['augment.views.both.affine.scale=(2, 1)'], r'scale must be a range \(low, high\)'),
    'shear': (['augment.views.both.affine.shear=90'], r'shear must lie in \[0, 90\)'),
    'sigma': (['method.name=decoupled', 'method.sigma=0.0'], 'method.sigma must be a number above 0 or None, not 0.0'),
    'word': (['model.name=resnet18', 'model.stem=mnist'], "model.stem='mnist' is unknown; known are cifar"),
    'pair': (['method.name=vicregl', 'method.matches=(3,)'], 'method.matches must be a tuple of 2 integers from 1'),
    'blocks': (['model.name=resnet18', 'model.stages=(900, 900)'], 'must be at most 1000 blocks, not 1800'),
    'kind': (['projector.kind=mpl'], "projector.kind='mpl' is unknown; did you mean mlp"),
    'parameter group': (['optimizer.groups.projector.scale=1'], 'unknown field optimizer.groups.projector.scale'),
    'schedule': (['schedules.temprature=1'], 'unknown field schedules.temprature; did you mean .*temperature'),
    'schedule of a shape': (['method.name=mae', 'model.name=vit_ti', 'decoder.kind=transformer', 'schedules.ratio=0.5'], 'unknown field schedules.ratio'),
    'scheduled switch': (['schedules.fuse_views=1'], 'unknown field schedules.fuse_views'),
    'schedule out of domain': (['schedules.temperature=0'], 'schedules.temperature must be a number above 0, not 0.0'),
    'schedule of None': (['method.name=decoupled', 'schedules.sigma=1'], 'method.sigma must be a number above 0 where schedules.sigma is set, not None'),
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


def test_a_config_may_import_its_neighbours(tmp_path):
    for folder, widths in (('one', (8,)), ('two', (16,))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'shared_parts.py').write_text(f'WIDTHS = {widths}')
        text = 'import shared_parts\nfrom selfsup.config import defaults\ndef get_config():\n    c = defaults()\n    c.projector.widths = shared_parts.WIDTHS\n    return c'
        (tmp_path / folder / 'c.py').write_text(text)
    path = list(sys.path)
    assert config.load(str(tmp_path / 'one/c.py')).projector.widths == (8,)
    assert config.load(str(tmp_path / 'two/c.py')).projector.widths == (16,)
    assert sys.path == path and 'shared_parts' not in sys.modules


def test_a_config_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'c.py').write_text('from selfsup.config import defaults\ndef get_config():\n    return defaults()')
    assert config.load('~/c.py').model.name == 'resnet18'


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


def test_a_line_on_a_name_of_any_length_is_cut_in_its_middle(capsys):
    assert errors.outcome(errors.UserError(f'{"a" * 5000} is no folder')) == errors.BAD_INPUT
    said = capsys.readouterr().err
    assert len(said) < errors.LONGEST + 20 and said.startswith('error: aaa') and said.endswith('aaa is no folder\n')


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
    code = (
        f'import runpy, sys; sys.path.insert(0, {str(Path(FILE).parent)!r}); '
        f'runpy.run_path({FILE!r})["get_config"](); sys.exit("jax" in sys.modules)'
    )
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
