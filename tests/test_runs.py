"""The list of runs and their comparison, from files alone."""

import fcntl
import json
import os
import re
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from matplotlib.axes import Axes
from selfsup import runs
from selfsup.errors import UserError
from selfsup.runs import comparison, listing, server

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


def test_runs_of_several_seeds_are_one_column_and_one_curve(root, capsys, tmp_path, monkeypatch):
    picture, bands = tmp_path / 'curves.png', []
    drawn = Axes.fill_between
    monkeypatch.setattr(
        Axes,
        'fill_between',
        lambda self, x, low, high, **k: bands.append((x, low, high)) or drawn(self, x, low, high, **k),
    )
    names = [str(root / name) for name in ('a', 'b', 'group/c')]
    runs.main(['compare', *names, '--over=seed', f'--plot={picture}'])
    rows = {line.split('\t')[0]: line.split('\t')[1:] for line in capsys.readouterr().out.splitlines()[:-1]}
    assert rows['runs'] == ['2', '1'] and rows['method.name'] == ['vicreg', 'byol'] and 'seed' not in rows
    assert rows['state'] == ['finished, stopped', 'collapsed']
    assert rows['knn'] == ['0.9 (1 of 2)', '0.9']
    assert bands and all((low <= high).all() for _, low, high in bands)
    steps = [json.loads((root / name / 'metrics.jsonl').read_text().splitlines()[-1])['step'] for name in 'ab']
    assert rows['step'][0] == f'{np.mean(steps):.4g} ± {np.std(steps, ddof=1):.2g}'
    assert picture.stat().st_size > 5_000
    runs.main(['compare', *names, '--over=seed', '--json'])
    found = json.loads(capsys.readouterr().out)
    assert [of['step'] for of in found.values()] == [steps, [8]]
    assert [of['seed'] for of in found.values()] == [[0, 1], [0]]
    assert [of['folder'] for of in found.values()] == [names[:2], names[2:]]


def test_a_curve_is_over_the_steps_that_all_runs_have():
    of = [[{'step': 1, 'loss': 1.0}, {'step': 2, 'loss': 4.0}, {'step': 3}], [{'step': 2, 'loss': 2.0}], []]
    steps, mean, deviation = comparison.curve(of, 'loss')
    assert steps.tolist() == [2] and mean.tolist() == [3.0] and deviation == pytest.approx([2**0.5])
    assert not len(comparison.curve(of, 'rankme')[0])
    assert comparison.curve(of[:1], 'loss')[2].tolist() == [0.0, 0.0]


def test_labels_tell_runs_apart():
    assert comparison._labels(['x/a/run', 'x/b/run']) == ['a/run', 'b/run']
    assert comparison._labels(['x/a', 'x/a']) == ['x/a (1)', 'x/a (2)']


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
        (['{root}', '--over=seed'], '--over goes with compare'),
        (['compare', '{root}/a', '{root}/b', '--over=sede'], "'sede' is unknown; did you mean seed"),
        (['{root}', '{root}'], 'runs lists one folder'),
        (['compare', '{root}/a'], 'compare needs at least two runs'),
        (['compare', '{root}/a', '{root}/f'], 'JSONDecodeError'),
        (['compare', '{root}/a', '{root}/b', '--plot={root}/no/x.png'], 'cannot be written'),
        (['serve', '{root}/none'], 'none is no folder'),
        (['serve', '{root}', '--port=0'], '--port from 1 to 65535'),
        (['serve', '{root}', '--port=x'], '--port must be a whole number'),
        (['{root}', '--config.seed=1'], 'runs reads the config of each run'),
    ],
)
def test_bad_input(root, words, message):
    with pytest.raises(UserError, match=message):
        runs.main([word.format(root=root) for word in words])


def test_scores_of_another_step_are_not_shown(tmp_path):
    folder = write(tmp_path / 'a', step=10, total=20)
    with (folder / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 15, "loss": 1.0}\n')
    row = listing.read(folder, tmp_path)
    assert row['step'] == 15 and row['state'] == 'stopped' and not row['done'] and 'linear' not in row


def test_a_linked_run_is_listed_and_a_circle_is_not_followed(tmp_path):
    run = write(tmp_path / 'elsewhere' / 'a')
    root = tmp_path / 'runs'
    root.mkdir()
    (root / 'linked').symlink_to(run)
    (root / 'circle').symlink_to(tmp_path)
    assert [folder.name for folder in listing.find(root)] == ['linked']


@pytest.mark.parametrize('text', ['(8,16)', '[8, 16]', '8,16'])
def test_lists_are_chosen_as_they_are_written(tmp_path, capsys, text):
    write(tmp_path / 'a', model={'widths': [8, 16]})
    write(tmp_path / 'b', model={'widths': [8, 32]})
    runs.main([str(tmp_path), '--where', f'model.widths={text}'])
    assert [line.split('\t')[0] for line in capsys.readouterr().out.splitlines()[1:]] == ['a']


def test_minutes_are_those_of_every_session(tmp_path):
    folder = write(tmp_path / 'a')
    lines = [
        {'step': step, 'seconds': seconds} for step, seconds in ((1, 30.0), (2, 60.0), (3, 15.0), (4, 90.0), (5, 1.5))
    ]
    (folder / 'timing.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines) + '{"step": 6, "sec')
    assert listing.read(folder, tmp_path)['minutes'] == 151.5 / 60
    # A run that began with an earlier version: its lines have no number, and a slow start follows a short session.
    lines += [{'step': 6, 'session': 4, 'seconds': 30.0}, {'step': 7, 'session': 5, 'seconds': 45.0}]
    (folder / 'timing.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    assert listing.read(folder, tmp_path)['minutes'] == (151.5 + 75) / 60
    (folder / 'timing.jsonl').unlink()
    assert listing.read(folder, tmp_path)['minutes'] is None


def test_only_the_end_of_long_metrics_is_read(tmp_path):
    file = tmp_path / 'metrics.jsonl'
    with file.open('w') as stream:
        for step in range(20_000):
            stream.write(json.dumps({'step': step, 'loss': step / 2}) + '\n')
    assert file.stat().st_size > 4 * listing.TAILS[1]
    assert listing.last_values(file) == {'step': 19_999, 'loss': 9_999.5}
    file.write_text('{"step": 1, "loss": 1.0}\nbroken\n{"step": 3, "rankme": 2.0}\n')
    with pytest.raises(ValueError, match='holds a line that cannot be read'):
        listing.last_values(file)


@pytest.fixture
def served(root):
    with server.make(root, 0) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_address[1]
        made.shutdown()


def get(port, path, **headers):
    request = urllib.request.Request(f'http://127.0.0.1:{port}{path}', headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def test_the_page_and_its_answers(root, served):
    text = get(served, '/').decode()
    assert 'http://' not in text.replace('http://www.w3.org/2000/svg', '') and 'https://' not in text
    found = {row['run']: row for row in json.loads(get(served, '/api/runs'))['runs']}
    assert found['a']['state'] == 'finished' and found['f']['state'] == 'damaged' and 'export' not in found
    curves = json.loads(get(served, '/api/curves?run=a'))
    assert curves['loss'] == [[5, 3.0], [10, 2.1]] and curves['rankme'] == [[10, 4.5]]
    assert json.loads(get(served, '/api/config?run=group%2Fc'))['method.name'] == 'byol'
    name = urllib.parse.quote('e\tline\nbreak')
    assert json.loads(get(served, f'/api/curves?run={name}'))['loss']
    (root / 'a' / 'report.html').write_text('<p>report')
    assert get(served, '/file?name=report.html&run=a') == b'<p>report'


def test_a_name_that_is_no_text(root, served, capsys):
    name = os.fsdecode(b'run \xff')
    write(root / name)
    found = {row['run']: row for row in json.loads(get(served, '/api/runs'))['runs']}
    assert found[name]['id'] == 'run%20%FF'
    assert json.loads(get(served, '/api/curves?run=run%20%FF'))['loss'] == [[5, 3.0], [10, 2.1]]
    runs.main([str(root)])
    assert r'run \udcff' in capsys.readouterr().out


def test_the_page_follows_runs(root, served):
    assert len(json.loads(get(served, '/api/runs'))['runs']) == 8
    write(root / 'i', step=2, results=False, checkpoint=False)
    with (root / 'a' / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 12, "loss": 1.5}\n')
    with (root / 'i' / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {row['run']: row for row in json.loads(get(served, '/api/runs'))['runs']}
    assert found['i']['state'] == 'running' and found['a']['loss'] == 1.5
    found = {row['run']: row for row in json.loads(get(served, '/api/runs'))['runs']}
    assert found['i']['state'] == 'lost'


@pytest.mark.parametrize(
    ('path', 'headers', 'code'),
    [
        ('/none', {}, 404),
        ('/api/curves?run=none', {}, 404),
        ('/api/curves?run=..', {}, 404),
        ('/file?name=config.json&run=a', {}, 404),
        ('/file?name=../b/config.json&run=a', {}, 404),
        ('/file?run=a', {}, 404),
        ('/api/runs', {'Host': 'example.org'}, 403),
    ],
)
def test_what_the_server_refuses(served, path, headers, code):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(served, path, **headers)
    assert refused.value.code == code
    refused.value.close()


def test_a_port_in_use(root, served):
    with pytest.raises(UserError, match=f'--port={served} cannot be had: Address already in use; take another'):
        server.make(root, served)


def test_curves_are_thinned_and_keep_their_end():
    points = [[step, float(step)] for step in range(1234)]
    thin = server._thinned(points)
    assert len(thin) <= server.POINTS and thin[-1] == [1233, 1233.0] and thin == sorted(thin)
    assert server._thinned(points[:7]) == points[:7] and server._thinned([]) == []
