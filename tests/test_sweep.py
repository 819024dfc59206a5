"""A member of a sweep is the run that its own config would give."""

import numpy as np
import pytest
import small
import tolerances
from selfsup import config
from selfsup.engine import sweep
from selfsup.engine.run import Run
from selfsup.errors import UserError

SMALL = [
    'model.widths=(4, 8)', 'projector.widths=(16, 8)', 'train.epochs=1', 'optimizer.warmup_epochs=0.5',
    'data.batch_size=64', 'data.per_class=20', 'optimizer.name=sgd', 'optimizer.learning_rate=0.05',
]  # fmt: skip
BYOL = ['method.name=byol', 'predictor.widths=(16, 8)', 'method.momentum=0.9', 'method.momentum_final=0.9']


def resolved(*overrides):
    return config.load('experiments/digits/vicreg.py', [*SMALL, *overrides])


def alone(c):
    """Parameters and the mean loss of an ordinary run."""
    run = Run(c, devices=1)
    state, losses = run.start(), []
    for step in range(run.total):
        state, metrics = run.dispatch(state, *run.feed(step, 1))
        losses.append(float(metrics['loss'][0]))
    return state, np.mean(losses)


@pytest.mark.slow
@pytest.mark.parametrize(
    'overrides, members, width',
    [
        pytest.param(
            [],
            [{'optimizer.learning_rate': 0.02}, {'method.covariance_weight': 10.0}, {'optimizer.momentum': 0.5}],
            2,
            marks=pytest.mark.slow,
        ),
        (['control=shuffled_pairs'], [{'optimizer.weight_decay': 0.1}], 0),
        pytest.param(BYOL, [{'method.momentum': 0.5, 'method.momentum_final': 0.99}, {}], 0, marks=pytest.mark.slow),
    ],
)
def test_a_member_is_the_run_of_its_config(overrides, members, width):
    out = sweep.train(resolved(*overrides), members, width=width, devices=1)
    assert len(out.states) == len(members) and out.metrics['loss'].shape == (len(members), 1)
    for number in (0,) if width else {0, len(members) - 1}:
        own = [f'{name}={value}' for name, value in members[number].items()]
        state, loss = alone(resolved(*overrides, *own))
        np.testing.assert_allclose(out.metrics['loss'][number, 0], loss, rtol=tolerances.FLOAT32)
        assert small.tree_distance(out.states[number].params, state.params) < tolerances.FLOAT32
    losses = out.metrics['loss'][:, 0]
    assert len(members) == 1 or len(set(losses.tolist())) > 1


@pytest.mark.slow
def test_a_members_state_can_be_encoded_and_measured():
    changed = []

    def change(method):
        changed.append(method)
        return method

    out = sweep.train(resolved('data.holdout=0.3'), [{}], change=change, devices=1)
    images = out.run.prepare(small.images(5))
    assert out.encode(out.states[0], images)['features'].shape == (5, 8)
    measured = out.run.monitor()(out.states[0])
    assert {'rankme', 'alignment', 'alarm/collapsed'} <= set(measured) and changed


@pytest.mark.parametrize(
    'members, message',
    [
        ([], 'at least one member'),
        ([{'optimizer.learning_rat': 1.0}], 'optimizer.learning_rat cannot be swept as a value; did you mean'),
        ([{'seed': 1}], 'seed cannot be swept'),
        ([{'train.epochs': 2}], 'train.epochs cannot be swept'),
        ([{'optimizer.learning_rate': float('nan')}], 'of member 0 is no finite number'),
        ([{'optimizer.learning_rate': 1e-3}, {'optimizer.learning_rate': '1'}], "'1' of member 1 is no finite number"),
    ],
)
def test_what_cannot_be_swept_is_named(members, message):
    with pytest.raises(UserError, match=message):
        sweep.train(resolved(), members)


def test_what_decides_shapes_is_not_swept():
    c = config.load('experiments/digits/mae.py')
    assert 'method.ratio' not in sweep.fields_of(c) and 'optimizer.learning_rate' in sweep.fields_of(c)
    with pytest.raises(UserError, match='method.ratio cannot be swept as a value'):
        sweep.train(c, [{'method.ratio': 0.3}])


def test_clustering_between_epochs_is_refused():
    with pytest.raises(UserError, match='is refreshed between epochs'):
        sweep.train(config.load('experiments/digits/deepcluster_v2.py', SMALL), [{}])
