"""Checkpoints by themselves: readers, damaged numbers, other layouts."""

import time

import jax
import jax.numpy as jnp
import pytest
from selfsup.engine import checkpoint
from selfsup.engine.checkpoint import Checkpoints
from selfsup.errors import UserError


def test_a_reader_leaves_alone_what_a_run_is_writing(tmp_path):
    writing = tmp_path / 'checkpoints' / '7.orbax-checkpoint-tmp'
    writing.mkdir(parents=True)
    (writing / 'part').touch()
    Checkpoints(tmp_path, read_only=True).close()
    assert (writing / 'part').exists()
    Checkpoints(tmp_path).close()  # the run itself clears away what a crash left, in a thread of its own
    ends = time.monotonic() + 20
    while writing.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not writing.exists()


@pytest.mark.parametrize('text', ['', '[1]', '{"alignment": "x"}', '{"alignment": 0.5'])
def test_damaged_numbers_of_a_checkpoint_are_emptied(text, tmp_path, capsys):
    file = tmp_path / 'checkpoints' / '7' / 'metrics' / 'metrics'
    file.parent.mkdir(parents=True)
    file.write_text(text)
    reader = Checkpoints(tmp_path, read_only=True)
    assert reader.steps() == [7] and file.read_text() == text  # a reader needs no numbers and writes nothing
    reader.close()
    Checkpoints(tmp_path, best='alignment').close()
    assert file.read_text() == '{}' and f'warning: {file}' in capsys.readouterr().out


def test_a_checkpoint_of_another_layout_says_how_it_differs(tmp_path):
    """What an older version of the program left, or a changed network: the arrays are named."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {'params': {'kernel': jnp.zeros((4, 2)), 'scale': jnp.ones(2)}, 'old': {'queue': jnp.ones(5)}})
    checkpoints.wait()
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {'params': {'kernel': jnp.zeros((4, 3)), 'scale': jnp.ones(2), 'bias': jnp.ones(2)}}
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), like)
    message = (
        r'no checkpoint can be read: step 3 \(it is of another version of this program or of another network: it '
        r'lacks params/bias \(1 in all\), has old/queue besides \(1 in all\), has params/kernel as float32\[4, 2\], '
        r'not float32\[4, 3\]\)'
    )
    with pytest.raises(UserError, match=message):
        checkpoints.restore(like)
    checkpoints.close()


@pytest.mark.parametrize('kind', ['float32', 'bfloat16', 'int32', 'bool'])
def test_a_number_that_is_not_the_one_written_is_found(kind, tmp_path, monkeypatch, capsys):
    """As a flipped bit that the file format does not see: the checkpoint before it is used."""
    value = jnp.arange(6).reshape(2, 3).astype(kind)
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2):
        checkpoints.save(number, {'params': {'kernel': value, 'count': jnp.asarray(number)}})
    checkpoints.wait()
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {'params': {'kernel': value, 'count': jnp.asarray(0)}}
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), like)
    assert checkpoints.restore(like)[0] == 2
    read = checkpoint.ocp.StandardCheckpointHandler.restore

    def flipped(self, folder, **keywords):
        state = read(self, folder, **keywords)
        if folder.parent.name == '2':
            state['params']['kernel'] = state['params']['kernel'].at[1, 2].set(jnp.zeros((), kind))
        return state

    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, 'restore', flipped)
    step, state = checkpoints.restore(like)
    assert step == 1 and int(state['params']['count']) == 1
    assert 'step 2 (ValueError: params/kernel is damaged: its checksum is another' in capsys.readouterr().out
    checkpoints.close()
