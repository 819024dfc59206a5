"""The examples of docs/extending.md, taken from the page and run as new rows of the tables that it names."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import augment, config, methods, optim
from selfsup.augment import operations
from selfsup.data import sources
from selfsup.engine.run import Run

PAGE = (Path(__file__).parent.parent / 'docs' / 'extending.md').read_text()
SECTIONS = dict(re.findall(r'^## ([^\n]+)\n(.*?)(?=^## |\Z)', PAGE, re.S | re.M))


def example(title):
    """The names that the example of a section defines."""
    (code,) = re.findall(r'```python\n(.*?)```', SECTIONS[title], re.S)
    names = {}
    exec(code, names)
    return names


def two_steps(*overrides):
    """The losses of two steps of a small digits run."""
    fields = ['model.widths=(4,)', 'projector.widths=(8, 8)', 'data.batch_size=64', 'train.epochs=1', *overrides]
    resolved = config.load('experiments/digits/vicreg.py', [f for f in fields if not f.startswith('-')])
    run = Run(resolved, devices=1)
    state, values = run.start(), []
    for step in range(2):
        state, metrics = run.dispatch(state, *run.feed(step, 1))
        values.append(float(metrics['loss'][-1]))
    assert np.isfinite(values).all()
    return state, values


def test_a_loss():
    loss = example('A loss')['orthogonality']
    z = jax.random.normal(jax.random.key(0), (64, 4))
    assert 0 <= float(loss(z, z)) < 0.2
    assert float(loss(jnp.ones((8, 4)), jnp.ones((8, 4)))) == pytest.approx(1.0)


def test_a_method_with_state(monkeypatch):
    monkeypatch.setitem(methods.METHODS, 'centred', example('A method with state')['centred'])
    state, _ = two_steps('method.name=centred', 'method.rate=0.5')
    assert float(jnp.abs(state.extra['centre']).max()) > 0


def test_a_data_set(monkeypatch):
    monkeypatch.setitem(sources.KINDS, 'stripes', example('A data set')['kind'])
    train, test = sources.open_source('stripes:200')
    assert train.class_names == ('across', 'down') or list(train.class_names) == ['across', 'down']
    assert len(train) + len(test) == 200
    two_steps('data.source=stripes:200')


def test_an_augmentation(monkeypatch):
    monkeypatch.setitem(operations.OPERATIONS, 'columns', example('An augmentation')['operation'])
    spec = {'a': {'columns': {'p': 0.5}}}
    augment.check_spec('a', spec['a'])
    views, sampled = augment.make_views(spec)(jax.random.key(0), jnp.ones((3, 4, 6, 1)), jnp.arange(3))
    dropped = np.asarray(sampled[0]['columns']['dropped'])
    np.testing.assert_array_equal(np.asarray(views[0])[:, 0, :, 0] == -1.0, dropped)


def test_an_optimiser(monkeypatch):
    monkeypatch.setitem(optim.OPTIMIZERS, 'sign_momentum', example('An optimiser')['sign_momentum'])
    two_steps('optimizer.name=sign_momentum', 'optimizer.learning_rate=1e-4')


def test_a_masked_method():
    networks = small.OWN_NETWORKS['mae']
    method = example('A masked method')['visible_mean'](networks['encoder'], networks['decoder'])
    rows = small.batch()
    params, extra = small.started(method, rows)
    (value, _), gradients = small.loss_and_gradient(method, params, extra, rows, jax.random.key(0))
    assert np.isfinite(float(value))
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradients['decoder']))
