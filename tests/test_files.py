"""Files that commands read: a damaged file gives a one-line error, nothing in them is run, nothing leaves its folder."""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from selfsup import cli, config, errors, files
from selfsup.data import shards
from selfsup.engine import encoder, export
from selfsup.errors import UserError

PACKAGE = Path(files.__file__).parent
# What can run a program that a file brings along, or open a port, and the modules that use it knowingly.
RISKY = {
    'pickle': {
        'data/workers.py',  # between processes of our own, over a pipe
        'weights/torch_file.py',  # an unpickler that finds nothing but a table of harmless names
    },
    # Workers and processes of our own; git; doctor asks jax for its devices in a process that may end.
    'subprocess': {'data/workers.py', 'engine/workdir.py', 'launch.py', 'doctor.py'},
    'socket': {'launch.py'},  # asks for a free port of loopback, and listens on none
    'http': {'runs/server.py'},  # a page for this machine alone, on loopback, which runs nothing
    'runpy': {'config/resolve.py'},  # a config file is a program, and the user's own
}
NEVER = {
    'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib', 'yaml', 'torch', 'code', 'codeop', 'socketserver',
    'xmlrpc', 'asyncio', 'multiprocessing',
}  # fmt: skip
CALLS = {'eval', 'exec', 'compile', '__import__'}
SHELLS = {'system', 'popen', 'execv', 'spawnv'}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or '').split('.')[0]


@pytest.mark.parametrize('file', sorted(PACKAGE.rglob('*.py')), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_nothing_that_is_read_is_run(file):
    name, tree = str(file.relative_to(PACKAGE)), ast.parse(file.read_text())
    assert not [module for module in imported(tree) if module in NEVER or name not in RISKY.get(module, {name})]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        assert not (isinstance(node.func, ast.Name) and node.func.id in CALLS), (name, node.lineno)
        called, owner = getattr(node.func, 'attr', ''), getattr(getattr(node.func, 'value', None), 'id', '')
        assert not (owner == 'os' and called in SHELLS), (name, node.lineno)
        if called == 'load' and owner in ('np', 'numpy'):
            given = {k.arg: getattr(k.value, 'value', None) for k in node.keywords}
            assert given.get('allow_pickle', True) is False, (name, node.lineno)


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


BAD_ARRAYS = {
    'absent': (None, 'there is no such file'),
    'text': (b'text', 'is no readable npz file of plain arrays: ValueError: it does not begin as'),
    'empty': (b'', 'is no readable npz file'),
    'cut': (b'PK\x03\x04' + bytes(20), 'is no readable npz file'),
}


@pytest.mark.parametrize('content, message', BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_arrays(content, message, tmp_path):
    if content is not None:
        (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(UserError, match=message):
        files.read_arrays(tmp_path / 'a.npz', 'a.npz')


def test_objects_in_arrays_are_not_unpickled(tmp_path):
    marker = tmp_path / 'marker'
    np.savez(tmp_path / 'a.npz', images=np.array([Bomb(marker)], object))
    with pytest.raises(UserError, match='a.npz is no readable npz file of plain arrays'):
        files.read_arrays(tmp_path / 'a.npz', 'a.npz')
    np.save(tmp_path / 'a.npy', np.zeros(3))
    with pytest.raises(UserError, match='holds a single array'):
        files.read_arrays(tmp_path / 'a.npy', 'a.npy')
    assert not marker.exists()


BAD_JSON = {
    'no text': (b'\xff\xfe{', 'it is no UTF-8 text'),
    'cut': (b'{"a": ', 'is damaged'),
    'deep': (b'[' * 100_000, 'is damaged'),
    'a list': (b'[1]', 'no JSON object but a list'),
}


@pytest.mark.parametrize('content, message', BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(content, message, tmp_path):
    file = tmp_path / 'a.json'
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        files.read_json(file)
    assert str(file) in str(refused.value)


def test_numbers_that_are_not_finite_are_null(tmp_path):
    content = {'step': 1, 'loss': math.nan, 'norms': [math.inf, 1.5], 'deep': {'x': (-math.inf, 'NaN', 2)}}
    line = files.json_line(content)
    assert line == '{"step": 1, "loss": null, "norms": [null, 1.5], "deep": {"x": [null, "NaN", 2]}}\n'
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": null}\n{"step": 2, "loss": NaN}\n')
    first, second = files.read_jsonl(tmp_path / 'metrics.jsonl')  # the second as older versions wrote it
    assert math.isnan(first['loss']) and math.isnan(second['loss'])


def test_a_tilde_is_written_out(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    options = {'workdir': None, 'only': '', 'data': '', '': [], 'features': []}
    words = ['~/a', '--workdir=~/runs/x', '--data=folder:~/y', '--features', '~/b', 'c~']
    values, _ = cli.parse(words, options, 'usage')
    home = str(tmp_path)
    assert values == {
        '': [f'{home}/a'], 'workdir': f'{home}/runs/x', 'only': '', 'data': 'folder:~/y', 'features': [f'{home}/b', 'c~'],
    }  # fmt: skip
    with pytest.raises(UserError, match='there is no such user'):
        cli.parse(['--workdir=~nobody-of-this-name/x'], options, 'usage')
    with pytest.raises(UserError, match='no config file ~/none.py'):
        config.load('~/none.py')
    (tmp_path / 'c.py').write_text(
        'from selfsup.config import defaults\n\n\ndef get_config():\n    return defaults()\n'
    )
    assert config.load('~/c.py').method.name
    for read in (encoder.load, export.source):
        with pytest.raises(UserError, match=str(tmp_path)):
            read('~/none')


BAD_LINES = {
    'no step': '{"loss": 1.0}\n{"step": 2}\n',
    'a word': '{"step": 1, "loss": "x"}\n{"step": 2}\n',
    'a list': '[1]\n{"step": 2}\n',
}


@pytest.mark.parametrize('text', BAD_LINES.values(), ids=BAD_LINES.keys())
def test_bad_metrics(text, tmp_path):
    (tmp_path / 'metrics.jsonl').write_text(text)
    with pytest.raises(UserError, match='line 1, is damaged'):
        files.read_jsonl(tmp_path / 'metrics.jsonl')


BAD_INDEXES = {
    'outside': (['../secret.array_record'], 'must be lists of names'),
    'absolute': (['/etc/passwd'], 'must be lists of names'),
    'no list': ('train', 'must be lists of names'),
    'absent': (['absent.array_record'], 'absent.array_record is missing'),
}


@pytest.mark.parametrize('named, message', BAD_INDEXES.values(), ids=BAD_INDEXES.keys())
def test_an_index_of_shards_stays_in_its_folder(named, message, tmp_path):
    folder = tmp_path / 'set'
    folder.mkdir()
    (tmp_path / 'secret.array_record').touch()
    np.save(folder / 'train-labels.npy', np.zeros(2, np.int32))
    entry = {'files': named, 'count': 2, 'fingerprint': 'x'}
    (folder / shards.META).write_text(json.dumps({'parts': {'train': entry}, 'class_names': ['a']}))
    with pytest.raises(UserError, match=message):
        shards.open_part(folder, 'train')


@pytest.mark.parametrize('content', [b'', b'\x93NUMPY\x01\x00\x10\x00{"descr": (((((((', b'PK\x03\x04', b'\x80\x04N.'])
def test_a_damaged_array_file_is_named(content, tmp_path):
    (tmp_path / 'labels.npy').write_bytes(content)
    with pytest.raises(UserError, match=r'labels\.npy cannot be read'):
        files.read_array(tmp_path / 'labels.npy')
    np.savez(tmp_path / 'two.npz', a=np.ones(1))
    with pytest.raises(UserError, match='holds several arrays'):
        files.read_array(tmp_path / 'two.npz')
    np.save(tmp_path / 'good.npy', np.arange(3))
    np.testing.assert_array_equal(files.read_array(tmp_path / 'good.npy'), np.arange(3))


def test_output_that_nobody_reads_ends_a_command_without_a_word():
    code = "from selfsup.errors import command; command(lambda arguments: [print('x' * 100) for _ in range(10_000)] and 0)()"
    read, write = os.pipe()
    command = subprocess.Popen([sys.executable, '-c', code], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    os.read(read, 10)
    os.close(read)
    said = command.communicate()[1]
    assert (command.returncode, said) == (errors.UNREAD, b'')
