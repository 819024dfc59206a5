"""The list of runs and their comparison, from files alone."""

import fcntl
import json
import re
import sys

import pytest
from selfsup import runs
from selfsup.errors import UserError

ALARM = {f'alarm/{flag}': 0.0 for flag in ('shrunk', 'narrow', 'flat', 'collapsed')}


def write(folder, *, step=10, total=10, checkpoint=True, results=True, collapsed=0.0, lines=(), **config):
    folder.mkdir(parents=True)
    fields = {'method': {'name': config.pop('method', 'vicreg')}, 'seed': config.pop('seed', 0), **config}
    (folder / 'config.json').write_text(json.dumps({'config': fields, 'identity': 'x', 'total_steps': total}))
    metrics = [{'step': 5, 'loss': 3.0}, {'step': step, 'loss': 2.0 + step / 100, 'rankme': None}]
    metrics += [{'step': step, **ALARM, 'alarm/collapsed': collapsed, 'rankme': 4.5}, *lines]
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in metrics))
    (folder / 'timing.jsonl').write_text(json.dumps({'step': step, 'seconds': 90.0}) + '\n')
    if checkpoint:
        (folder / 'checkpoints' / str(step)).mkdir(parents=True)
    if results:
        scores = {'trained': {'knn': 0.9, 'linear': 0.8 + step / 1000}}
        (folder / 'results.json').write_text(json.dumps({'step': step, 'scores': scores}))
    return folder


@pytest.fixture
def root(tmp_path):
    write(tmp_path / 'a')
    write(tmp_path / 'b', step=7, results=False, seed=1)
    write(tmp_path / 'group' / 'c', step=8, collapsed=1.0, method='byol')
    write(tmp_path / 'd', step=3, checkpoint=False, results=False)
    write(tmp_path / 'e\tline\nbreak')
    damaged = write(tmp_path / 'f')
    (damaged / 'config.json').write_text('{"config": ')
    torn = write(tmp_path / 'g')
    (torn / 'metrics.jsonl').write_text((torn / 'metrics.jsonl').read_text() + '{"step": 11, "lo')
    wrong = write(tmp_path / 'h')
    lines = (wrong / 'metrics.jsonl').read_text().splitlines()
    (wrong / 'metrics.jsonl').write_text('\n'.join([*lines[:2], 'no JSON', lines[2], '']))
    export = tmp_path / 'export'
    export.mkdir()
    (export / 'config.json').write_text('{"architecture": "resnet18"}')
    return tmp_path


def listed(*words):
    runs.main([*map(str, words), '--json'])


def test_states(root, capsys):
    listed(root)
    found = {row['run']: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row['state'] for name, row in found.items()} == {
        'a': 'finished', 'b': 'stopped', 'group/c': 'collapsed', 'd': 'lost', 'e\tline\nbreak': 'finished', 'f': 'damaged',
        'g': 'finished', 'h': 'damaged',
    }  # fmt: skip
    assert found['a']['loss'] == 2.1 and found['a']['rankme'] == 4.5 and found['a']['minutes'] == 1.5
    assert found['a']['linear'] == 0.81 and found['a']['method.name'] == found['a']['method'] == 'vicreg'
    assert 'JSONDecodeError' in found['f']['problem']
    with (root / 'b' / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listed(root / 'b')
        assert json.loads(capsys.readouterr().out)[0]['state'] == 'running'
    assert json.loads((listed(root / 'b'), capsys.readouterr().out)[1])[0]['state'] == 'stopped'


@pytest.mark.parametrize(
    ('words', 'names'),
    [
        (['--sort=-step', '--state=finished,stopped,collapsed'], ['a', r'e\tline\nbreak', 'g', 'group/c', 'b']),
        (['--sort=step', '--state=stopped,collapsed'], ['b', 'group/c']),
        (['--where', 'seed=1'], ['b']),
        (['--where', 'method.name=byol', 'seed=0'], ['group/c']),
        (['--sort=linear', '--state=finished,lost'], ['a', r'e\tline\nbreak', 'g', 'd']),
    ],
)
def test_filters_and_order(root, capsys, words, names):
    runs.main([str(root), *words])
    assert [line.split('\t')[0] for line in capsys.readouterr().out.splitlines()[1:]] == names


def test_one_line_a_run_whatever_its_name(root, capsys):
    runs.main([str(root), '--columns=knn,seed'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and all(line.count('\t') == 11 for line in lines)
    assert lines[0].split('\t')[-2:] == ['knn', 'seed'] and lines[1].split('\t')[3] == '10/10'


def test_on_a_terminal_it_is_a_table(root, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    runs.main([str(root)])
    assert 'probe_accuracy' in re.sub(r'[\s┃│]+', '', capsys.readouterr().out)


def test_compare(root, capsys, tmp_path):
    picture = tmp_path / 'curves.png'
    runs.main(['compare', str(root / 'a'), str(root / 'group' / 'c'), f'--plot={picture}'])
    rows = [line.split('\t') for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ['', 'a', 'c'] and rows[1] == ['state', 'finished', 'collapsed']
    assert ['method.name', 'vicreg', 'byol'] in rows and ['linear', '0.81', '0.808'] in rows
    assert not any(row[0] == 'seed' for row in rows)
    assert picture.stat().st_size > 5_000
    runs.main(['compare', str(root / 'a'), str(root / 'b'), '--json'])
    found = json.loads(capsys.readouterr().out)
    assert found['a']['seed'] == 0 and found['b']['seed'] == 1 and found['b']['state'] == 'stopped'


def test_labels_tell_runs_apart():
    assert runs._labels(['x/a/run', 'x/b/run']) == ['a/run', 'b/run']
    assert runs._labels(['x/a', 'x/a']) == ['x/a (1)', 'x/a (2)']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['{root}/none'], 'none is no folder'),
        (['{root}/export'], 'holds no runs'),
        (['{root}', '--sort=linaer'], r'--sort=linaer is unknown; did you mean linear'),
        (['{root}', '--state=done'], '--state=done is unknown'),
        (['{root}', '--where', 'seed'], '--where seed must be FIELD=VALUE'),
        (['{root}', '--where', 'sead=1'], "'sead' is unknown; did you mean seed"),
        (['{root}', '--columns=nkn'], "'nkn' is unknown; did you mean knn"),
        (['{root}', '--plot=x.png'], '--plot goes with compare'),
        (['{root}', '{root}'], 'runs lists one folder'),
        (['compare', '{root}/a'], 'compare needs at least two runs'),
        (['compare', '{root}/a', '{root}/f'], 'JSONDecodeError'),
        (['compare', '{root}/a', '{root}/b', '--plot={root}/no/x.png'], 'cannot be written'),
        (['{root}', '--config.seed=1'], 'runs reads the config of each run'),
    ],
)
def test_bad_input(root, words, message):
    with pytest.raises(UserError, match=message):
        runs.main([word.format(root=root) for word in words])


def test_only_the_end_of_long_metrics_is_read(tmp_path):
    file = tmp_path / 'metrics.jsonl'
    with file.open('w') as stream:
        for step in range(20_000):
            stream.write(json.dumps({'step': step, 'loss': step / 2}) + '\n')
    assert file.stat().st_size > 4 * runs.TAILS[1]
    assert runs.last_values(file) == {'step': 19_999, 'loss': 9_999.5}
    file.write_text('{"step": 1, "loss": 1.0}\nbroken\n{"step": 3, "rankme": 2.0}\n')
    with pytest.raises(ValueError, match='holds a line that cannot be read'):
        runs.last_values(file)
