"""Checkpoints by themselves: two parts, older formats, readers, leftovers, damage, other layouts, odd names."""

import dataclasses
import json
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selfsup.engine import checkpoint
from selfsup.engine.checkpoint import Checkpoints, shapes
from selfsup.engine.step import TrainState
from selfsup.errors import UserError

SAVED = Path(__file__).parent / 'saved'
OPTIMIZER = optax.multi_transform(
    {'moved': optax.adamw(optax.linear_schedule(1.0, 0.0, 3)), 'frozen': optax.set_to_zero()},
    {'encoder': 'moved', 'projector': 'frozen'},
)


def state(step, extra=None, kernel=None):
    """A small training state with every kind of node: empty ones, named tuples, integers."""
    kernel = jnp.arange(6.0).reshape(2, 3) if kernel is None else kernel
    params = {'encoder': {'kernel': kernel, 'norm': {}}, 'projector': {'bias': jnp.ones(2)}}
    extra = {'batch_stats': {}, 'queue': jnp.full(4, float(step))} if extra is None else extra
    probe = {'bias': jnp.zeros(2), 'opt_state': optax.adam(1.0).init(jnp.zeros(2))}
    return TrainState(jnp.asarray(step, jnp.int32), params, extra, OPTIMIZER.init(params), probe)


def wanted(of):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return shapes(of, jax.tree.map(lambda _: place, of))


def written(path, *steps, best=None, keep=2, **arguments):
    """A workdir with a checkpoint of each step, and the numbers `{best: value}` where steps are pairs."""
    with closing(Checkpoints(path, keep=keep, best=best)) as checkpoints:
        for step in steps:
            step, value = step if isinstance(step, tuple) else (step, 0.0)
            checkpoints.save(step, state(step, **arguments), {best: value} if best else None)
        checkpoints.wait()
        return checkpoints.steps()


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


# Orbax and TensorStore read some of these as patterns, as separators or as places on other storage.
NAMES = ['plain', '[lr=0.1]', 'back\\slash', 'a b*?', '100%25 #x', 'q\'"ü\n', '~', '{x}', '$HOME;&|', 'gs:', '-v']


@pytest.mark.parametrize('name', NAMES)
def test_a_workdir_may_have_any_name(name, tmp_path):
    assert written(tmp_path / name, 1, 2) == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with closing(Checkpoints(tmp_path / name, read_only=True)) as reader:
        step, found = reader.restore(wanted(state(0)))
    assert step == 2
    assert_equal(found, state(2))
    (tmp_path / name).rename(tmp_path / 'renamed')
    with closing(Checkpoints(tmp_path / 'renamed', read_only=True)) as reader:
        assert reader.restore(wanted(state(0)))[0] == 2


def test_the_newest_and_the_best_are_kept(tmp_path):
    steps = [(1, 3.0), (2, 1.0), (3, 2.0), (4, float('nan')), (5, 1.5)]
    assert written(tmp_path, *steps, best='alignment', keep=2) == [2, 4, 5]  # the smallest alignment is the best
    assert written(tmp_path, (6, 0.5), (7, 9.0), best='alignment', keep=1) == [6, 7]


def test_older_checkpoints_stay_where_the_new_one_cannot_be_read_back(tmp_path, monkeypatch):
    assert written(tmp_path, 1, keep=1) == [1]
    finalize = checkpoint.ocp.StandardCheckpointHandler.finalize

    def without_index(self, directory):
        finalize(self, directory)
        (directory / checkpoint.INDEX).unlink()

    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, 'finalize', without_index)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(2, state(2))
    with pytest.raises(
        UserError, match=r'checkpoints/2 cannot be read back: .*manifest.ocdbt is missing; older ones are'
    ):
        checkpoints.wait()
    checkpoints.close()
    monkeypatch.undo()
    with closing(Checkpoints(tmp_path, read_only=True)) as reader:
        assert reader.restore(wanted(state(0)))[0] == 1


def test_a_reader_leaves_alone_what_a_run_is_writing(tmp_path):
    writing = tmp_path / 'checkpoints' / '7.orbax-checkpoint-tmp'
    writing.mkdir(parents=True)
    (writing / 'part').touch()
    Checkpoints(tmp_path, read_only=True).close()
    assert (writing / 'part').exists()


def test_a_run_clears_away_what_a_failed_save_or_a_crash_left(tmp_path, monkeypatch):
    assert written(tmp_path, 1, 2) == [1, 2]

    def full(self, directory):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, 'finalize', full)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state(3))
    with pytest.raises(Exception, match='No space left'):
        checkpoints.wait()
    assert checkpoints.steps() == [1, 2]  # nothing was forgotten
    checkpoints.close()
    monkeypatch.undo()
    (tmp_path / 'checkpoints' / '0.deleted').mkdir()
    left = {p.name for p in (tmp_path / 'checkpoints').iterdir()}
    assert any('tmp' in name for name in left)
    Checkpoints(tmp_path).close()
    assert {p.name for p in (tmp_path / 'checkpoints').iterdir()} == {'1', '2'}


@pytest.mark.parametrize('text', ['', '[1]', '{"numbers": {"alignment": "x"}}', '{"numbers": {"alignment": 0.5'])
def test_a_checkpoint_with_damaged_numbers_is_never_the_best(text, tmp_path, capsys):
    assert written(tmp_path, (1, 0.1), (2, 0.5), best='alignment') == [1, 2]
    (tmp_path / 'checkpoints' / '1' / 'about' / 'metadata').write_text(text)
    assert written(tmp_path, (3, 0.9), best='alignment', keep=1) == [2, 3]
    assert 'warning: the numbers of ' in capsys.readouterr().out


def test_a_checkpoint_of_another_layout_says_how_it_differs(tmp_path):
    """What an older version of the program left, or a changed network: the arrays are named."""
    written(tmp_path, 3)
    params = {'encoder': {'kernel': jnp.zeros((2, 4)), 'scale': jnp.ones(2)}, 'projector': {}}
    like = wanted(dataclasses.replace(state(0), params=params))
    message = (
        r'no checkpoint can be read: step 3 \(ValueError: it is of another version of this program or of another '
        r'network: it lacks params/encoder/scale \(1 in all\), has params/projector/bias besides \(1 in all\), has '
        r'params/encoder/kernel as float32\[2, 3\], not float32\[2, 4\]\)'
    )
    with closing(Checkpoints(tmp_path, read_only=True)) as reader, pytest.raises(UserError, match=message):
        reader.restore(like)


@pytest.mark.parametrize('old, readable', [({'step': jnp.asarray(3)}, True), ({'stride': jnp.asarray(3)}, False)])
def test_retired_leaves_are_dropped_and_no_others(old, readable, tmp_path):
    written(tmp_path, 3, extra={'batch_stats': {}, 'queue': jnp.ones(4), **old})
    with closing(Checkpoints(tmp_path, read_only=True)) as reader:
        if readable:
            step, found = reader.restore(wanted(state(0)))
            assert step == 3 and set(found.extra) == {'batch_stats', 'queue'}
        else:
            with pytest.raises(UserError, match='has extra/stride besides'):
                reader.restore(wanted(state(0)))


@pytest.mark.parametrize('kind', ['float32', 'bfloat16', 'int32', 'bool'])
@pytest.mark.parametrize('field', ['params', 'opt_state'])
def test_a_number_that_is_not_the_one_written_is_found(kind, field, tmp_path, monkeypatch, capsys):
    """As a flipped bit that the file format does not see: the checkpoint before it is used."""
    kernel = jnp.arange(6).reshape(2, 3).astype(kind)
    with closing(Checkpoints(tmp_path)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, dataclasses.replace(state(step), **{field: {'encoder': {'kernel': kernel}}}))
        checkpoints.wait()
    read = checkpoint.ocp.PyTreeCheckpointHandler.restore

    def flipped(self, folder, **keywords):
        found = read(self, folder, **keywords)
        if folder.parent.name == '2' and field in found:
            found[field]['encoder']['kernel'] = found[field]['encoder']['kernel'].at[1, 2].set(jnp.zeros((), kind))
        return found

    monkeypatch.setattr(checkpoint.ocp.PyTreeCheckpointHandler, 'restore', flipped)
    like = wanted(dataclasses.replace(state(0), **{field: {'encoder': {'kernel': kernel}}}))
    with closing(Checkpoints(tmp_path, read_only=True)) as reader:
        step, found = reader.restore(like)
    assert step == 1 and int(found.step) == 1
    assert f'step 2 (ValueError: {field}/encoder/kernel is damaged: its checksum is another' in capsys.readouterr().out


def test_the_network_is_read_without_the_training_state(tmp_path):
    written(tmp_path, 4)
    for file in (tmp_path / 'checkpoints' / '4' / 'training').rglob('*'):
        if file.is_file():
            file.unlink()
    like = wanted(state(0))
    with closing(Checkpoints(tmp_path, read_only=True)) as reader:
        step, found = reader.restore_network({'params': like.params, 'extra': like.extra})
        assert step == 4
        assert_equal(found, {'params': state(4).params, 'extra': state(4).extra})
        with pytest.raises(UserError, match='no checkpoint can be read'):
            reader.restore(like)


def test_a_format_that_is_not_known_is_refused(tmp_path):
    written(tmp_path, 1)
    file = tmp_path / 'checkpoints' / '1' / 'about' / 'metadata'
    file.write_text(json.dumps({**json.loads(file.read_text()), 'format': 3}))
    message = 'its format is 3, and this version reads 1, 2'
    with closing(Checkpoints(tmp_path, read_only=True)) as reader, pytest.raises(UserError, match=message):
        reader.restore(wanted(state(0)))


def test_arrays_that_report_to_a_failed_save_print_no_traceback(tmp_path, monkeypatch):
    """tensorstore tells each further error of a save on a full disk to the event loop that the first one closed."""
    printed = []
    monkeypatch.setattr(sys, 'unraisablehook', printed.append)
    with closing(Checkpoints(tmp_path / 'run')):
        faults = [SimpleNamespace(exc_value=RuntimeError(text)) for text in ('Event loop is closed', 'another fault')]
        for fault in faults:
            sys.unraisablehook(fault)  # type: ignore[arg-type]
    assert printed == faults[1:]
