"""`selfsup COMMAND`: the table of commands, configs by name, methods, doctor, completion, and the wheel."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import small
from selfsup import __main__ as main
from selfsup import catalogue, cli, completion, config, doctor, losses, train
from selfsup.config import shipped
from selfsup.errors import UserError
from selfsup.methods import METHODS


def run(*words, **changes):
    command = [sys.executable, '-m', 'selfsup', *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **changes}, timeout=300)


def test_usage_names_every_command_and_loads_nothing_heavy(capsys):
    assert main.main([]) == 0 and main.main(['--help']) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf'^  {name}\b', shown, re.M) for name in cli.COMMANDS)
    code = 'import sys, selfsup.__main__ as m; m.main(["--help"]); print([n for n in ("jax", "flax", "rich") if n in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith('[]')
    assert main.main(['--version']) == 0 and capsys.readouterr().out == 'selfsup 0.1.0\n'


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_each_command_has_its_usage(name, capsys):
    with pytest.raises(SystemExit) as end:
        main.main([name, '--help'])
    assert end.value.code == 0 and capsys.readouterr().out.startswith('usage: ')


# Names longer than a file system has: refused like any other that is not there.
NAME = 'a' * 300
LONG = [
    (['embed', '--workdir=w', f'--out={NAME}/f.npz'], f'--out={NAME}/f.npz must be a file'),
    (['reduce', '--in=f.npz', '--dim=2', f'--out={NAME}/f.npz'], f'--out={NAME}/f.npz must be a file'),
    (['bench', 'a=w', '--data=digits', f'--out={NAME}/f.json'], f'--out={NAME}/f.json must be a file'),
    (['evaluate', '--workdir=w', f'--out={NAME}/f.json'], f'--out={NAME}/f.json must be a file'),
    (['runs', NAME], f'{NAME} is no folder'),
    (['pack', f'--data={NAME}', '--out=p'], f"data.source='{NAME}' is unknown"),
    (['pack', f'--data=folder:{NAME}', '--out=p'], 'there is no such folder'),
]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['trian'], "'trian' is an unknown command; did you mean train?"),
        (['train'], 'the config is missing; usage: selfsup train CONFIG'),
        (['train', 'digits/vicreg', 'digits/byol'], 'one config at a time, not digits/vicreg and digits/byol'),
        (['train', 'digits/vicrge'], 'there is no config file digits/vicrge; did you mean digits/vicreg'),
        (['train', 'digits'], 'digits is a folder of '),
        (['train', 'digits/vicreg', 'train.epcohs=3'], 'did you mean train.epochs or'),
        (['methods', 'simclrr'], "'simclrr' is an unknown method; did you mean simclr"),
        (['methods', '--family=mask'], '--family=mask is unknown; did you mean masked?'),
        (['completion'], 'completion takes one shell'),
        *((words, message) for words, message in LONG),
        (['completion', 'fish'], "'fish' is no shell that is known here; did you mean"),
    ],
)
def test_bad_input(words, message):
    with pytest.raises(UserError, match=re.escape(message)):
        main.main(words)


def test_configs_by_name_and_by_path():
    found = shipped.shipped()
    assert {'digits/vicreg', 'cifar10/moco_v2', 'imagenet/simclr'} <= set(found)
    assert not any('common' in name or name.startswith('tables') for name in found)
    named = config.load('digits/vicreg')
    for path in ('experiments/digits/vicreg.py', 'digits/vicreg.py', str(small.ROOT / 'experiments/digits/vicreg.py')):
        assert config.to_json(config.load(path)) == config.to_json(named)


@pytest.mark.parametrize(
    ('words', 'path', 'more'),
    [
        (['digits/vicreg', 'seed=3', 'train.epochs=2'], 'digits/vicreg', ['seed=3', 'train.epochs=2']),
        (['--config=digits/byol', 'seed=3'], 'digits/byol', ['seed=3']),
        (['folder/a=b.py'], 'folder/a=b.py', []),
    ],
)
def test_words_of_train(words, path, more):
    values, _ = cli.parse(words, train.OPTIONS, train.USAGE)
    assert cli.config_of(values, train.USAGE) == (path, more)


def test_a_run_lies_where_its_config_says():
    assert cli.place_of('digits/vicreg') == 'digits/vicreg'
    assert cli.place_of('/a/experiments/cifar10/byol.py') == 'cifar10/byol'


@pytest.mark.parametrize(
    ('overrides', 'epochs', 'warmup'),
    [
        ([], 1000, 10.0),
        (['train.epochs=20'], 20, 10.0),
        (['train.epochs=5'], 5, 0.05),
        (['train.epochs=0'], 0, 10.0),
    ],
)
def test_a_shortened_run_has_a_shortened_warmup(overrides, epochs, warmup):
    resolve = lambda: config.load('cifar10/simclr', overrides)  # noqa: E731
    if not epochs:
        with pytest.raises(UserError, match='train.epochs'):
            resolve()
        return
    resolved = resolve()
    assert (resolved.train.epochs, resolved.optimizer.warmup_epochs) == (epochs, warmup)
    with pytest.raises(UserError, match='optimizer.warmup_epochs=9'):
        config.load('cifar10/simclr', ['train.epochs=5', 'optimizer.warmup_epochs=9'])


def test_a_whole_number_of_warm_up_epochs_is_shortened_too(tmp_path):
    file = tmp_path / 'whole.py'
    file.write_text(
        'from selfsup.config import defaults\n'
        'def get_config():\n'
        '    c = defaults()\n'
        "    c.data.source = 'digits'\n"
        '    c.train.epochs = 100\n'
        '    c.optimizer.warmup_epochs = 10\n'
        '    return c\n'
    )
    assert config.load(str(file), ['train.epochs=5']).optimizer.warmup_epochs == 0.5


def test_every_method_has_a_paper_and_a_config():
    rows = {row.name: row for row in catalogue.rows()}
    assert set(rows) == set(METHODS)
    for row in rows.values():
        assert row.title and re.search(r'\b(19|20)\d\d$', row.paper) and row.link.startswith('https://'), row.name
        assert row.what and row.configs and row.losses, row.name
        assert all(hasattr(losses, loss) or hasattr(losses, f'{loss}_terms') for loss in row.losses), row.name
    assert rows['dinov2'].losses == ['dinov2_class', 'dinov2_patches', 'koleo'] and rows['tico'].losses == ['tico']
    assert rows['rotation'].losses == ['cross_entropy'] and rows['moco_v1'].losses == ['info_nce']
    scores = json.loads((small.ROOT / 'docs' / 'digits.json').read_text())['byol']['none']
    mean = 100 * sum(run['trained']['linear_10'] for run in scores.values()) / len(scores)
    assert abs(rows['byol'].score - mean) < 1e-9 and rows['moco_v2'].family == 'contrastive'


def test_methods_are_listed(capsys):
    assert main.main(['methods', '--family=masked', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row['family'] for row in found} == {'masked'} and 'mae' in {row['name'] for row in found}
    assert main.main(['methods', 'simclr']) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ('Chen et al. 2020', 'digits/simclr', '95.9 (86.1)', 'NT-Xent', 'ntxent'))


def test_doctor_says_what_is_there_and_what_is_wrong(tmp_path, monkeypatch, capsys):
    set_ = tmp_path / 'stripes' / '1.0.0'
    set_.mkdir(parents=True)
    (set_ / 'dataset_info.json').write_text('{}')
    assert main.main(['doctor', f'--data-dir={tmp_path}']) == 0
    shown = capsys.readouterr().out
    assert all(
        re.search(line, shown, re.M)
        for line in (r'^python +3\.', r'^packages +jax 0', r'^devices +8 x cpu', 'stripes$')
    )
    assert shown.endswith('no problem found\n')
    monkeypatch.setattr(doctor, 'PACKAGES', ('jax', 'no-such-package'))
    monkeypatch.setattr(doctor, 'PYTHON', ((3, 99), (4, 0)))
    monkeypatch.setenv('JAX_PLATFORMS', 'abacus')
    assert main.main(['doctor', '--data-dir=/no/such/folder']) == 1
    shown = capsys.readouterr().out
    for problem in (
        'no-such-package not installed',
        'written for Python 3.11',
        'jax does not start: .*abacus.*see to',
        'is no folder',
    ):
        assert re.search(f'problem: .*{problem}', shown), problem
    assert shown.endswith('4 problems found\n')


def completed(*words):
    """What bash offers for the last of the words."""
    words = ' '.join(f"'{word}'" for word in ('selfsup', *words))
    ask = f'{completion.script("bash")}COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _selfsup; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(['bash', '-c', ask], capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.split()


def test_completion_knows_commands_options_configs_and_fields():
    for shell in completion.SHELLS:
        text = completion.script(shell)
        assert 'train sweep evaluate' in text and '--workdir=' in text and 'digits/vicreg' in text
    assert completed('train', 'digits/vib') == ['digits/vibcreg']
    assert completed('train', 'digits/simclr', 'optimizer.learn') == ['optimizer.learning_rate=']
    own = completed('train', 'digits/simclr', 'seed=1', 'method.')
    assert 'method.temperature=' in own and 'method.queue=' not in own
    assert 'method.queue=' in completed('sweep', 'mine.py', 'method.') and completed('train', 'seed') == []
    assert completion.options('--a=X --b --b=Y --config=F') == ['--a=', '--b=']


@pytest.mark.slow
def test_a_wheel_works_outside_the_checkout(tmp_path):
    """Built, installed into an empty environment that lends the dependencies of this one, and used."""
    build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', str(tmp_path)]
    subprocess.run([*build, str(small.ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob('selfsup-*.whl')
    venv = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True)
    site = next((venv / 'lib').glob('python*')) / 'site-packages'
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', str(site), str(wheel)], check=True
    )
    here = sysconfig.get_path('purelib')
    # A path of a .pth file comes after the environment's own packages, and its own .pth files are not read.
    (site / 'lent.pth').write_text(f'{here}\n')
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}

    def call(*words):
        python = [str(venv / 'bin' / 'python'), '-m', *words]
        return subprocess.run(python, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600)

    done = call('selfsup', 'methods', 'vicreg', '--json')
    assert 'digits/vicreg' in json.loads(done.stdout)[0]['configs'] and json.loads(done.stdout)[0]['score'] > 90, (
        done.stderr
    )
    small_run = ['model.widths=(8,16)', 'projector.widths=(16,8)', 'train.epochs=2', 'evaluate.label_draws=1']
    done = call('selfsup', 'train', 'digits/vicreg', *small_run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / 'runs' / 'digits' / 'vicreg' / 'report.md').is_file()
    done = call('selfsup', 'runs')
    assert done.stdout.splitlines()[1].split('\t')[:3] == ['digits/vicreg', 'finished', 'vicreg']
    done = call('selfsup', 'reproduce', 'findings', 'inner_product', '--seeds=0')
    assert 'numbers are within' in done.stdout, done.stdout + done.stderr
    assert Path(call('selfsup.doctor').stdout and site / 'selfsup' / 'experiments' / 'digits.json').is_file()
