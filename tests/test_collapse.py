"""Stated ways of collapsing are seen by the alarm, and healthy runs are left alone."""

import pytest
import small
from selfsup import methods

from experiments.tables import collapse


def measured(name, fault):
    config = small.digits_config(name, 'train.epochs=20', 'optimizer.learning_rate=0.02', *fault.overrides)
    return collapse.measure(config, fault.change)


def test_every_method_states_how_it_collapses():
    assert set(collapse.FAULTS) == set(methods.METHODS)
    assert all(fault.overrides or fault.change for fault in collapse.FAULTS.values())


@pytest.mark.parametrize('name', [pytest.param('simclr', marks=pytest.mark.slow), 'simsiam'])
def test_the_alarm_sees_the_fault_and_not_the_method(name):
    healthy, broken = measured(name, collapse.NONE), measured(name, collapse.FAULTS[name])
    assert not healthy['alarm/collapsed'], healthy
    assert broken['alarm/collapsed'], broken
