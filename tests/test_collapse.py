"""Stated ways of collapsing are seen by the alarm, and healthy runs are left alone."""

import pytest
import small
from selfsup import config, methods, signature

from experiments.tables import collapse

# Methods with a projector whose configs have one view.
OF_ONE_VIEW = ('clusternet', 'jule')


def measured(name, fault):
    c = small.digits_config(name, 'train.epochs=20', 'optimizer.learning_rate=0.02', *fault.overrides)
    return collapse.measure(c, fault.change)


def test_every_method_states_how_it_collapses():
    # One view has no pairs whose embeddings could collapse onto one another; of methods that hide patches docs/collapse.md
    # says what was seen.
    pairs = {
        n for n, m in methods.METHODS.items() if signature.takes(m, 'projector') and '.masked.' not in m.__module__
    } - set(OF_ONE_VIEW)
    assert set(collapse.FAULTS) == pairs
    assert all(fault.overrides or fault.change for fault in collapse.FAULTS.values())


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(collapse.FAULTS))
def test_the_alarm_sees_every_fault_at_the_size_of_the_digits_configs(name):
    """What the table of collapses prints: after 20 of 100 epochs some methods are still on their way to alignment."""
    base = ['train.epochs=20', 'optimizer.warmup_epochs=5']
    flags = []
    for fault in (collapse.NONE, collapse.FAULTS[name]):
        c = config.load(f'experiments/digits/{name}.py', [*base, *fault.overrides])
        seen = collapse.measure(c, fault.change)
        flags.append(set(collapse.raised(seen)))
    healthy, broken = flags
    assert broken - healthy and healthy <= {'unaligned'}, flags


@pytest.mark.slow
@pytest.mark.parametrize('name', ['simclr', 'simsiam'])
def test_the_alarm_sees_the_fault_and_not_the_method(name):
    healthy, broken = measured(name, collapse.NONE), measured(name, collapse.FAULTS[name])
    assert not healthy['alarm/collapsed'], healthy
    assert broken['alarm/collapsed'], broken
