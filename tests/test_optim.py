"""Optimisers against step-by-step NumPy, schedules against their closed forms, groups."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selfsup import optim, signature
from tolerances import FLOAT32, FLOAT64

PEAK, DECAY, TRUST = 0.3, 1e-2, 1e-3


def rate(step):
    return PEAK * (1 - 0.1 * step)


def problem():
    rng = np.random.default_rng(0)
    params = {'encoder': {'kernel': rng.normal(size=(4, 3)), 'bias': rng.normal(size=(3,))}}
    gradients = [jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in range(4)]
    return params, gradients


def run(transform, params, gradients):
    params = jax.tree.map(jnp.asarray, params)
    state = transform.init(params)
    for g in gradients:
        updates, state = transform.update(jax.tree.map(jnp.asarray, g), state, params)
        params = optax.apply_updates(params, updates)
    return params['encoder']


def sgd(p, g, v, lr, matrix):
    v = 0.9 * v + g + (DECAY * p if matrix else 0)
    return p - lr * v, v


def lars(p, g, v, lr, matrix):
    d = g
    if matrix:
        d = g + DECAY * p
        d = d * TRUST * np.linalg.norm(p) / np.linalg.norm(d)
    v = 0.9 * v + d
    return p - lr * v, v


def lars_clipped(p, g, v, lr, matrix):
    d = g
    if matrix:
        ratio = TRUST * np.linalg.norm(p) / (np.linalg.norm(g) + DECAY * np.linalg.norm(p) + 1e-8)
        d = (g + DECAY * p) * min(ratio / lr, 1)
    v = 0.9 * v + d
    return p - lr * v, v


def larc(p, g, v, lr, matrix):
    d = g
    if matrix:
        ratio = TRUST * np.linalg.norm(p) / (np.linalg.norm(g) + DECAY * np.linalg.norm(p) + 1e-8)
        d = (g + DECAY * p) * ratio
    v = 0.9 * v + d
    return p - lr * v, v


def lars_classic(p, g, v, lr, matrix):
    d, trust = g, 1.0
    if matrix:
        d = g + DECAY * p
        trust = TRUST * np.linalg.norm(p) / np.linalg.norm(d)
    v = 0.9 * v + lr * trust * d
    return p - v, v


REFERENCES = {'sgd': sgd, 'lars': lars, 'lars_clipped': lars_clipped, 'larc': larc, 'lars_classic': lars_classic}


@pytest.mark.parametrize('name', REFERENCES)
def test_equals_numpy(name, x64):
    params, gradients = problem()
    trust = {'trust': TRUST} if signature.takes(optim.OPTIMIZERS[name], 'trust') else {}
    ours = run(optim.optimizer(name, rate, peak=PEAK, weight_decay=DECAY, **trust), params, gradients)
    for leaf, p in params['encoder'].items():
        v = np.zeros_like(p)
        for step, g in enumerate(gradients):
            p, v = REFERENCES[name](p, g['encoder'][leaf], v, rate(step), p.ndim > 1)
        np.testing.assert_allclose(ours[leaf], p, rtol=FLOAT64)


def test_adamw_equals_optax(x64):
    params, gradients = problem()
    mask = jax.tree.map(lambda p: p.ndim > 1, params)
    theirs = run(optax.adamw(rate, weight_decay=DECAY, mask=mask), params, gradients)
    ours = run(optim.optimizer('adamw', rate, peak=PEAK, weight_decay=DECAY), params, gradients)
    for leaf in ours:
        np.testing.assert_allclose(ours[leaf], theirs[leaf], rtol=1e-9)


def test_sgd_with_clipping_equals_optax(x64):
    params, gradients = problem()
    theirs = run(
        optax.chain(optax.clip_by_global_norm(0.5), optax.add_decayed_weights(DECAY), optax.trace(0.9), optax.scale_by_learning_rate(rate)),
        params, gradients,
    )  # fmt: skip
    ours = run(
        optim.optimizer('sgd', rate, peak=PEAK, weight_decay=DECAY, decay_vectors=True, clip_norm=0.5),
        params,
        gradients,
    )
    for leaf in ours:
        np.testing.assert_allclose(ours[leaf], theirs[leaf], rtol=1e-6)


def test_each_array_is_clipped_by_itself(x64):
    params, gradients = problem()
    chain = optax.chain(optax.clip_by_global_norm(0.5), optax.trace(0.9), optax.scale_by_learning_rate(rate))
    ours = run(optim.optimizer('sgd', rate, peak=PEAK, clip_norm=0.5, clip_each=True), params, gradients)
    for leaf in ours:  # a tree of one array: the global norm is its own

        def alone(tree, leaf=leaf):
            return {'encoder': {leaf: tree['encoder'][leaf]}}

        theirs = run(chain, alone(params), [alone(g) for g in gradients])
        np.testing.assert_allclose(ours[leaf], theirs[leaf], rtol=1e-6)


@pytest.mark.parametrize('name', [*REFERENCES, 'adamw'])
def test_vector_scale(name, x64):
    params, gradients = problem()
    plain = run(optim.optimizer(name, rate, peak=PEAK), params, gradients)
    scaled = run(optim.optimizer(name, rate, peak=PEAK, vector_scale=0.1), params, gradients)
    np.testing.assert_array_equal(scaled['kernel'], plain['kernel'])
    start = params['encoder']['bias']
    np.testing.assert_allclose(scaled['bias'] - start, 0.1 * (plain['bias'] - start), rtol=1e-9)


@pytest.mark.parametrize('name', ['sgd', 'lars', 'larc', 'adamw'])
def test_a_frozen_array_has_no_past(name, x64):
    # torch skips an array without gradient, moments and step count included: it starts afresh when it thaws.
    params, gradients = problem()
    frozen = {'encoder': optim.Group(freeze_steps=2)}
    ours = run(optim.optimizer(name, lambda s: PEAK, peak=PEAK, groups=frozen), params, gradients)
    fresh = run(optim.optimizer(name, lambda s: PEAK, peak=PEAK), params, gradients[2:])
    for leaf in ours:
        np.testing.assert_allclose(ours[leaf], fresh[leaf], rtol=1e-9)


@pytest.mark.parametrize('name', [*REFERENCES, 'adamw'])
def test_groups(name, x64):
    params, _ = problem()
    params = jax.tree.map(jnp.asarray, dict.fromkeys(('encoder', 'predictor', 'prototypes'), params['encoder']))
    groups = {
        'predictor': optim.Group(scale=2.0, schedule='constant', decay=0.0),
        'prototypes': optim.Group(freeze_steps=2),
    }
    transform = optim.optimizer(name, lambda s: rate(s + 1), peak=PEAK, weight_decay=DECAY, groups=groups)
    state = transform.init(params)
    gradients = jax.tree.map(jnp.ones_like, params)
    updates, state = transform.update(gradients, state, params)
    assert float(jnp.abs(updates['prototypes']['kernel']).max()) == 0
    plain = optim.optimizer(name, lambda s: 2 * PEAK, peak=0.0, weight_decay=0.0)
    expected, _ = plain.update(gradients, plain.init(params), params)
    np.testing.assert_allclose(updates['predictor']['kernel'], expected['predictor']['kernel'], rtol=1e-9)
    for _ in range(2):
        updates, state = transform.update(gradients, state, params)
    assert float(jnp.abs(updates['prototypes']['kernel']).max()) > 0


def test_every_optimizer_has_a_reference():
    assert set(optim.OPTIMIZERS) == {*REFERENCES, 'adamw'}


def test_a_keyword_of_another_optimizer_is_refused():
    with pytest.raises(TypeError, match='beta2'):
        optim.optimizer('sgd', rate, peak=PEAK, beta2=0.9)


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_the_state_is_laid_out_like_the_parameters(name):
    # Checkpoints hold it: one tree like the parameters, or for AdamW two under their names.
    params = {'encoder': {'kernel': jnp.zeros((3, 2))}}
    state = optim.optimizer(name, rate, peak=PEAK).init(params)
    trees = list(state.inner.values()) if name == 'adamw' else [state.inner]
    assert state._fields == ('count', 'inner') and (name != 'adamw' or list(state.inner) == ['first', 'second'])
    assert all(jax.tree.structure(tree) == jax.tree.structure(params) for tree in trees)


def test_zero_parameters_and_gradients_are_safe():
    params = {'encoder': {'kernel': jnp.zeros((3, 2))}}
    for name in REFERENCES:
        transform = optim.optimizer(name, rate, peak=PEAK, weight_decay=DECAY)
        updates, _ = transform.update(params, transform.init(params), params)
        assert float(jnp.abs(updates['encoder']['kernel']).max()) == 0


def test_schedules():
    value = optim.warmup_cosine(2.0, steps=100, warmup_steps=10, start=0.5, final_share=0.1)
    np.testing.assert_allclose([value(0), value(5), value(10)], [0.5, 1.25, 2.0], rtol=FLOAT32)
    np.testing.assert_allclose(value(55), 2.0 * (0.1 + 0.9 * 0.5), rtol=FLOAT32)
    np.testing.assert_allclose([value(100), value(150)], [0.2, 0.2], rtol=FLOAT32)
    early = optim.warmup_cosine(2.0, steps=100, warmup_steps=10, start=0.5, inclusive=True)
    np.testing.assert_allclose([early(t) for t in range(11)], [*np.linspace(0.5, 2.0, 10), 2.0], rtol=FLOAT32)
    held = optim.by_epoch(value, 7)
    np.testing.assert_allclose([held(t) for t in range(20)], [value(t - t % 7) for t in range(20)], rtol=FLOAT32)
    constant = optim.warmup_constant(2.0, warmup_steps=4)
    np.testing.assert_allclose([constant(0), constant(2), constant(9)], [0, 1, 2], rtol=FLOAT32)
    momentum = optim.momentum_cosine(0.99, 1.0, steps=100)
    np.testing.assert_allclose([momentum(0), momentum(50), momentum(100)], [0.99, 0.995, 1.0], rtol=FLOAT32)


def test_the_peak_may_be_traced():
    def at(peak):
        return optim.warmup_cosine(peak, steps=10, warmup_steps=2)(5)

    np.testing.assert_allclose(jax.vmap(at)(jnp.array([1.0, 2.0])), [at(1.0), at(2.0)], rtol=FLOAT32)
