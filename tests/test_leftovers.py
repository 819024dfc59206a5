"""What a command leaves behind where it is refused or fails: nothing new, and nothing old spoiled."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small
from PIL import Image
from selfsup import bench, cli, doctor, embed, errors, evaluate, files, pack, reduce, train
from selfsup.engine import loop, workdir
from selfsup.engine.writer import Writer
from selfsup.errors import UserError
from selfsup.weights import folder


def everything(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob('*'))


@pytest.mark.parametrize('fields', [('data.source=npz:/nowhere.npz',), ('data.batch_size=4096',)])
def test_a_refused_run_leaves_nothing(fields, tmp_path):
    (tmp_path / 'there').mkdir()
    for place in ('there', 'new/deep'):
        with pytest.raises(UserError):
            loop.train(small.digits_config('simclr', *fields), str(tmp_path / place), devices=1)
    assert everything(tmp_path) == ['there']


def test_a_refusal_does_not_touch_a_run_or_other_files(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(UserError):
        loop.train(small.digits_config('simclr', 'data.source=npz:/nowhere.npz'), str(tmp_path), devices=1)
    assert everything(tmp_path) == ['.lock', 'config.json', 'notes.txt']


def test_a_lock_that_was_taken_away_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    plain, path, gone = fcntl.flock, tmp_path / 'r' / '.lock', []

    def refused_before(*arguments):
        if not gone:  # the run that held it was refused, and took its folder away
            gone.append(path.unlink())
            path.parent.rmdir()
        return plain(*arguments)

    root, made = workdir.make(tmp_path / 'r')
    monkeypatch.setattr(workdir.fcntl, 'flock', refused_before)
    lock = workdir.Lock(root, made)
    assert path.read_text() == lock.owner
    with pytest.raises(UserError, match='in use by another process'):
        workdir.Lock(root)
    (root / 'config.json').touch()
    lock.release()
    assert path.exists()


def full(*arguments, **keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_spoils_no_file(tmp_path, monkeypatch):
    for name in ('f.npz', 'f.json'):
        (tmp_path / name).write_text('old')
    monkeypatch.setattr(np, 'savez', full)
    with pytest.raises(OSError, match='No space'):
        files.write_arrays(tmp_path / 'f.npz', {'a': np.zeros(1)})
    monkeypatch.setattr('pathlib.Path.write_text', full)
    with pytest.raises(OSError, match='No space'):
        evaluate.write({'knn': 0.5}, tmp_path / 'f.json')
    assert everything(tmp_path) == ['f.json', 'f.npz'] and (tmp_path / 'f.json').read_bytes() == b'old'


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / '.f.json.new').mkdir()
    with pytest.raises(OSError) as refused:
        evaluate.write({'knn': 0.5}, tmp_path / 'f.json')
    assert refused.value.filename == str(tmp_path / 'f.json')


@pytest.mark.parametrize('command', [embed.main, evaluate.main])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(command, tmp_path, monkeypatch):
    ending = 'npz' if command is embed.main else 'json'
    (tmp_path / f'f.{ending}').mkdir()
    for name, said in (('f', 'it is a folder'), ('g' * 249, 'File name too long')):
        with pytest.raises(UserError, match=f'--out=.* cannot be written: {said}'):
            command([f'--workdir={tmp_path}/none', f'--out={tmp_path}/{name}.{ending}'])
    assert everything(tmp_path) == [f'f.{ending}']


HELD = {
    'config.json': (evaluate.main, ['--workdir={0}/none', '--only=knn', '--out={0}/{1}'], '{"config": {"seed": 0}}'),
    'package.json': (evaluate.main, ['--features={0}/f.npz', '--out={0}/{1}'], '{"name": "mine"}'),
    'notes.json': (bench.main, ['a={0}/f.npz', '--out={0}/{1}'], 'no JSON'),
    'photos.npz': (reduce.main, ['--in={0}/f.npz', '--out={0}/{1}', '--dim=2'], {'images': np.zeros(3)}),
    'reducer.npz': (reduce.main, ['--in={0}/f.npz', '--out={0}/{1}', '--apply={0}/{1}'], {'kind': np.array('pca')}),
    'features.npz': (reduce.main, ['--in={0}/f.npz', '--out={0}/o.npz', '--save={0}/{1}', '--dim=2'], {'features': 1}),
}


@pytest.mark.parametrize('name', HELD)
def test_a_file_of_another_kind_is_never_replaced(name, tmp_path):
    command, words, content = HELD[name]
    if isinstance(content, str):
        (tmp_path / name).write_text(content)
    else:
        np.savez(tmp_path / name, **content)
    np.savez(tmp_path / 'f.npz', features=np.eye(4), labels=np.arange(4))
    before = (tmp_path / name).read_bytes()
    said = 'is the file of --apply' if name == 'reducer.npz' else 'holds something else already'
    with pytest.raises(UserError, match=f'{name} {said}'):
        command([word.format(tmp_path, name) for word in words])
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    'content', ['', '{"rankme": 3.5, "knn": null}', '[{"layer": "stem", "knn": 0.5}]', '{"scores": {}, "summary": []}']
)
def test_numbers_take_the_place_of_numbers(content, tmp_path):
    (tmp_path / 'a.json').write_text(content)
    files.check_place(tmp_path / 'a.json', '--out', cli.holds_numbers)


def test_why_a_workdir_cannot_be_made_is_said(tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to('/nowhere/x')
    for place, said in (('file', 'file is a file'), ('file/deep', 'file is a file'), ('link', 'link to /nowhere/x')):
        with pytest.raises(UserError, match=f'--workdir=.*{place} cannot be written: .*{said}'):
            workdir.make(tmp_path / place)


def test_compiled_programs_lie_in_a_folder_of_the_account_or_nowhere(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    for given, place in (('', tmp_path / '.cache'), ('relative', tmp_path / '.cache'), ('/x', Path('/x'))):
        monkeypatch.setenv('XDG_CACHE_HOME', given)
        assert cli.cache_folder() == str(place / 'selfsup' / 'jax')
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.setattr('os.path.expanduser', lambda path: path)  # as for an account that has no home
    assert cli.cache_folder() == '' and 'not kept' in ''.join(line.value for line in doctor.folders(''))
    (tmp_path / 'file').touch()
    assert cli._writable(f'{tmp_path}/file') == '' and 'cannot be used' in capsys.readouterr().err
    assert cli._writable(f'{tmp_path}/new') and (tmp_path / 'new').is_dir()


def test_a_folder_that_is_gone_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    for command in (doctor.main, train.main):
        with pytest.raises(SystemExit) as ended:
            monkeypatch.setattr('sys.argv', ['selfsup', *(['digits/simclr'] if command is train.main else [])])
            errors.command(command)()
        assert ended.value.code == errors.BAD_INPUT
        assert 'the folder in which this was started is gone' in capsys.readouterr().err


def test_pack_that_fails_leaves_no_folder(tmp_path):
    (tmp_path / 'set').mkdir()
    for number in range(12):
        Image.new('L', (8, 8), number).save(tmp_path / 'set' / f'{number:02}.png')
    (tmp_path / 'set' / '05.png').write_bytes(b'no image')
    before = everything(tmp_path)
    for out, said in (('out/deep', '05.png is no image'), ('set/packed', '--out=.* lies in folder:')):
        with pytest.raises(UserError, match=said):
            pack.main([f'--data=folder:{tmp_path}/set', f'--out={tmp_path}/{out}'])
    assert everything(tmp_path) == before


def test_an_encoder_that_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, 'save_file', full)
    for name in ('state_dict', 'describe', 'card', 'timm_has', 'features'):
        monkeypatch.setattr(folder, name, lambda *arguments, **keywords: {})
    weights = type('Weights', (), {'crop': 8, 'model': {}})
    with pytest.raises(UserError, match='No space'):
        folder.write(weights, tmp_path / 'deep' / 'encoder')
    assert everything(tmp_path) == []


def test_folders_that_cannot_be_made_leave_none(tmp_path):
    with pytest.raises(OSError, match='too long'):
        files.make_folders(tmp_path / 'a' / ('b' * 300))
    assert everything(tmp_path) == []


def test_timings_carry_the_number_of_their_session(tmp_path):
    file = tmp_path / 'timing.jsonl'
    # Two sessions of an earlier version, and a line that a killed one did not finish.
    file.write_text('{"step": 1, "seconds": 9.0}\n{"step": 2, "seconds": 3.0}\n{"step": 3, "sec')
    for step, seconds in ((3, 5.0), (4, 50.0)):
        writer = Writer(tmp_path, step=0)
        writer.time(step, seconds=seconds)
        writer.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line.get('session') for line in lines] == [None, None, 3, 4]
    assert [[line['step'] for line in part] for part in files.by_session(lines)] == [[1], [2], [3], [4]]
    assert [len(part) for part in files.by_session(files.timings(file))] == [1, 1, 1, 1]


def test_closed_streams_end_no_command():
    code = "import sys; from selfsup.errors import command; command(lambda arguments: print('x', file=sys.stdout))()"
    for closed in ('>&-', '2>&-', '>&- 2>&-'):
        assert subprocess.run(f'exec {sys.executable} -c "{code}" {closed}', shell=True).returncode == 0


def test_a_platform_that_is_not_there_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv('JAX_PLATFORMS', 'nosuch')
    error = RuntimeError(
        "Unable to initialize backend 'nosuch': Backend 'nosuch' is not in the list\nof known backends"
    )
    assert errors.outcome(error) == errors.BAD_INPUT
    assert capsys.readouterr().err.startswith("error: JAX_PLATFORMS='nosuch' names devices that jax cannot use here: ")
    assert errors.outcome(RuntimeError('another')) is None
    assert errors.outcome(AssertionError('of another place')) is None
    # What jax raises where no plugin of the platform is installed.
    with pytest.raises(AssertionError) as raised:
        exec(compile('assert None is not None', '/python/jax/_src/xla_bridge.py', 'exec'))
    assert errors.outcome(raised.value) == errors.BAD_INPUT
    assert 'no plugin for: pip install' in capsys.readouterr().err
