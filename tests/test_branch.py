"""Runs that go on from a checkpoint of another one: equal to the run from the start, or refused."""

import re

import numpy as np
import pytest
import small
from prepared import Prepared
from selfsup import optim
from selfsup.engine import branch, loop
from selfsup.engine.checkpoint import Checkpoints
from selfsup.errors import UserError

FIELDS = (
    'monitor.max_samples=36', 'data.per_class=40', 'data.batch_size=80', 'data.pad=0', 'model.widths=(16,)',
    'optimizer.schedule=constant', 'optimizer.warmup_epochs=1.0', 'checkpoint.keep=9',
)  # fmt: skip
PREPARED = Prepared()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(loop, 'Run', PREPARED)
    monkeypatch.setattr(loop.report, 'finish', lambda *arguments: None)


def run(path, *overrides):
    return loop.train(small.digits_config('simclr', *FIELDS, *overrides), str(path), devices=1)


@pytest.fixture(scope='module')
def trunk(tmp_path_factory):
    """Four epochs of four steps at a constant rate, with a checkpoint each, and no line of metrics at the last step."""
    path = tmp_path_factory.mktemp('trunk') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, 'Run', PREPARED)
        patch.setattr(loop.report, 'finish', lambda *arguments: None)
        assert run(path, 'train.epochs=4', 'train.log_every=3') == 0
    yield path
    PREPARED.forget()


# Another line of metrics stands at the end of the trunk than a longer run writes there; half an epoch is no checkpoint.
LENGTHS = {'shorter': (3, 0.5), 'longer': (6, 1.0)}


@pytest.mark.slow
@small.each(LENGTHS, quick=('shorter',))
def test_a_branch_is_the_run_of_its_config(name, trunk, tmp_path, capsys):
    epochs, cooldown = LENGTHS[name]
    more = (f'train.epochs={epochs}', f'optimizer.cooldown_epochs={cooldown}', 'train.log_every=3')
    assert run(tmp_path / 'branch', *more, f'branch_from={trunk}') == 0
    step = min(4 * 4, int(epochs - cooldown) * 4)
    assert f'going on from step {step} of {trunk}' in capsys.readouterr().out
    assert run(tmp_path / 'straight', *more) == 0
    PREPARED.assert_same_run(tmp_path / 'branch', tmp_path / 'straight')


@pytest.mark.slow
def test_a_branch_of_a_method_with_refreshes_does_not_begin_at_the_trunks_end(trunk, tmp_path, monkeypatch):
    def begun(refresh):
        class Refreshed(Prepared):
            def __call__(self, config, *, devices=None):
                found = super().__call__(config, devices=devices)
                found.method = found.method._replace(refresh=refresh)
                return found

        made = Refreshed()(small.digits_config('simclr', *FIELDS, 'train.epochs=6', f'branch_from={trunk}'), devices=1)
        return branch.begin(made)[0]

    assert (begun(None), begun('any')) == (16, 12)


@pytest.mark.slow
def test_a_branch_that_was_stopped_goes_on_from_its_own_checkpoint(trunk, tmp_path, capsys):
    more = ('train.epochs=6', f'branch_from={trunk}')
    assert run(tmp_path / 'branch', *more, 'train.stop_after_steps=4') == 75
    assert run(tmp_path / 'branch', *more) == 0
    assert 'going on from step 20\n' in capsys.readouterr().out


def test_a_session_may_end_at_an_epoch(trunk, tmp_path):
    config = small.digits_config('simclr', *FIELDS, 'train.epochs=4', 'train.log_every=3')
    assert loop.train(config, str(tmp_path / 'run'), devices=1, until=1.5) == 75
    assert Checkpoints(tmp_path / 'run', read_only=True).steps() == [4, 6]
    assert loop.train(config, str(tmp_path / 'run'), devices=1, until=1.5) == 75  # nothing is left of that
    assert loop.train(config, str(tmp_path / 'run'), devices=1) == 0
    PREPARED.assert_same_run(tmp_path / 'run', trunk)


REFUSED = {
    'no run': (['branch_from=/nowhere'], "branch_from='/nowhere' is no workdir of a run"),
    'another config': (['seed=7'], 'is a run of another config: seed: 0 -> 7'),
    'another rate': (['optimizer.schedule=cosine', 'optimizer.cooldown_epochs=0'], "optimizer.schedule: 'constant' ->"),
    'two starts': (['init_from=/nowhere'], 'init_from and branch_from are both set'),
    'a cosine with a cool-down': (
        ['optimizer.schedule=cosine'],
        "cooldown_epochs=0.25 needs optimizer.schedule='const",
    ),
    'longer than the run': (['optimizer.cooldown_epochs=5'], 'cooldown_epochs=5.0 must be at most 4.0, train.epochs w'),
}


@pytest.mark.parametrize('overrides, message', REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_branch_is_refused(overrides, message, trunk, tmp_path):
    given = ['train.epochs=5', 'optimizer.cooldown_epochs=0.25', f'branch_from={trunk}', *overrides]
    with pytest.raises(UserError, match=re.escape(message)):
        run(tmp_path / 'branch', *given)
    assert not (tmp_path / 'branch').exists()


def test_a_trunk_whose_early_checkpoints_are_gone_is_refused(trunk, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, 'steps', lambda self: [12, 16])
    with pytest.raises(
        UserError, match=re.escape('has no checkpoint up to step 8, where the branch leaves it; there are [12, 16]')
    ):
        run(tmp_path / 'branch', 'train.epochs=4', 'optimizer.cooldown_epochs=2', f'branch_from={trunk}')


@pytest.mark.slow
def test_numbers_that_move_over_the_epochs_are_refused(trunk, tmp_path):
    with pytest.raises(UserError, match='over which optimizer.weight_decay moves to weight_decay_final=0.1'):
        run(tmp_path / 'trunk', 'train.epochs=1', 'optimizer.weight_decay_final=0.1')
        run(tmp_path / 'run', 'train.epochs=2', 'optimizer.weight_decay_final=0.1', f'branch_from={tmp_path / "trunk"}')


def test_a_cooldown_falls_linearly_to_its_share():
    rate = optim.warmup_constant(2.0, steps=20, warmup_steps=4, cooldown_steps=5, final_share=0.5)
    found = np.asarray(rate(np.arange(21)))
    np.testing.assert_allclose(found[:5], [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(found[4:16], 2)
    np.testing.assert_allclose(found[15:], [2, 1.8, 1.6, 1.4, 1.2, 1])
