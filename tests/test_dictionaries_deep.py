"""Dictionaries of several layers, and atoms learned by predicting what the codes have not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from selfsup import dictionaries as d
from sklearn.decomposition import sparse_encode
from tolerances import FLOAT64

KEY = jax.random.key(0)
SKLEARN = 1e-6  # a solver that stops at its own tolerance
LAYERS = {'penalties': (0.2, 0.1), 'coupling': 0.5}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def problem(rows=12, dim=6, units=(9, 7), seed=0):
    rng = np.random.default_rng(seed)
    sizes = (dim, *units)
    return rng.normal(size=(rows, dim)), [
        unit(rng.normal(size=(n, width))) for n, width in zip(units, sizes, strict=False)
    ]


def test_one_layer_is_the_lasso_and_online_learning(x64):
    x, (first, _) = problem()
    (codes,) = d.deep_codes(x, [first], penalties=(0.2,), iterations=50)
    np.testing.assert_array_equal(codes, d.fista(x, first, penalty=0.2, iterations=50))
    fitted = d.fit_deep(KEY, x, units=(5,), penalties=(0.2,), batch=4, epochs=2, joint=0)
    expected = d.fit_online(KEY, x, units=5, penalty=0.2, batch=4, epochs=2).dictionary
    np.testing.assert_array_equal(fitted.dictionaries[0], expected)


def test_codes_of_all_layers_are_one_lasso_of_scikit_learn(x64):
    """Its penalty is one number, so atoms are divided by theirs, and its codes multiplied."""
    x, layers = problem(units=(9, 7, 5))
    penalties, coupling = (0.2, 0.1, 0.05), (0.5, 2.0)
    (a, b, c), (beta, gamma) = layers, np.sqrt(coupling)
    zeros = np.zeros
    wide = np.block(
        [
            [a, -beta * np.eye(9), zeros((9, 7))],
            [zeros((7, 6)), beta * b, -gamma * np.eye(7)],
            [zeros((5, 6)), zeros((5, 9)), gamma * c],
        ]
    )
    each = np.repeat(penalties, (9, 7, 5))
    targets = np.concatenate([x, zeros((12, 16))], axis=1)
    expected = sparse_encode(targets, wide / each[:, None], algorithm='lasso_lars', alpha=1.0, max_iter=10_000) / each
    found = d.deep_codes(x, layers, penalties=penalties, coupling=coupling, iterations=4000)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=SKLEARN)
    residuals = [x - found[0] @ a, beta * (found[0] - found[1] @ b), gamma * (found[1] - found[2] @ c)]
    expected = sum(0.5 * (np.asarray(r) ** 2).sum(1) for r in residuals)
    expected = expected + sum(p * np.abs(z).sum(1) for p, z in zip(penalties, found, strict=True))
    value = d.deep_objective(x, layers, found, penalties=penalties, coupling=coupling)
    np.testing.assert_allclose(value, expected, rtol=FLOAT64)
    positive = d.deep_codes(x, layers, penalties=penalties, coupling=coupling, iterations=50, nonnegative=True)
    assert all(float(z.min()) == 0 < float(z.max()) for z in positive)


def test_a_large_coupling_gives_the_lasso_on_the_product_of_the_layers(x64):
    x, layers = problem(dim=5, units=(4, 6))
    coupling = 1e4
    low, high = d.deep_codes(x, layers, penalties=(0.0, 0.1), coupling=coupling, iterations=60_000)
    np.testing.assert_allclose(low, high @ layers[1], atol=10 / coupling)
    product = d.effective_atoms(layers)[1]
    np.testing.assert_allclose(product, layers[1] @ layers[0], atol=FLOAT64)
    np.testing.assert_allclose(high, d.fista(x, product, penalty=0.1, iterations=2000), atol=100 / coupling)


def deep_signals(rows=3000, dim=30, units=40, deep=20, parts=3, seed=0):
    """Each an atom of the deep layer, which is one of `parts` atoms of the first, and an atom of the first beside it."""
    rng = np.random.default_rng(seed)
    low, high = unit(rng.normal(size=(units, dim))), np.zeros((deep, units))
    for row in high:
        row[rng.permutation(units)[:parts]] = rng.choice([-1, 1], parts) * rng.uniform(0.7, 1, parts)
    high = unit(high)
    own, above = np.zeros((rows, units)), np.zeros((rows, deep))
    everyone = np.arange(rows)
    above[everyone, rng.integers(deep, size=rows)] = rng.choice([-1, 1], rows) * rng.uniform(1, 2, rows)
    own[everyone, rng.integers(units, size=rows)] = rng.choice([-1, 1], rows) * rng.uniform(0.5, 1.5, rows)
    signals = (own + above @ high) @ low + 0.01 * rng.normal(size=(rows, dim))
    return signals.astype(np.float32), high @ low


@pytest.mark.slow
def test_all_layers_together_find_deep_atoms_that_layer_by_layer_does_not():
    signals, atoms = deep_signals()
    how = {'penalties': (0.1, 0.03), 'coupling': 0.3}
    told = {}
    for joint in (0, 30):
        fitted = d.fit_deep(KEY, signals, units=(40, 20), batch=64, epochs=8, joint=joint, iterations=150, **how)
        value = float(d.deep_objective(signals, *fitted, **how).mean())
        told[joint] = (value, d.recovered(atoms, d.effective_atoms(fitted.dictionaries)[1]))
    assert told[30][0] < told[0][0], told
    assert told[30][1] >= 0.9 and told[0][1] < 0.5, told


@pytest.mark.slow
def test_turns_of_codes_and_atoms_never_raise_the_objective(x64):
    x, _ = problem(rows=40)
    values = []
    for joint in range(5):
        fitted = d.fit_deep(KEY, x, units=(9, 7), batch=8, epochs=1, joint=joint, iterations=3000, **LAYERS)
        values.append(float(d.deep_objective(x, *fitted, **LAYERS).mean()))
        assert all(np.linalg.norm(layer, axis=1).max() <= 1 + 1e-9 for layer in fitted.dictionaries)
    assert (np.diff(values) < 1e-9).all() and values[-1] < values[0], values


@pytest.mark.slow
def test_hidden_coordinates_are_predicted_and_only_their_atoms_learn(x64):
    p = d.planted(KEY, rows=9, dim=8, units=6, active=2)
    visible = jnp.asarray([0, 2, 3, 5, 6])
    hidden = np.setdiff1d(np.arange(8), visible)
    seen = np.asarray(p.dictionary)[:, visible]
    scaled = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    codes = np.asarray(d.omp(p.signals[:, visible], scaled, active=2)) / np.linalg.norm(seen, axis=1)
    left = np.asarray(p.signals)[:, hidden] - codes @ np.asarray(p.dictionary)[:, hidden]
    found, slope = jax.value_and_grad(lambda b: d.masked_error(p.signals, b, visible, active=2))(p.dictionary)
    np.testing.assert_allclose(found, (left**2).sum(1).mean(), rtol=1e-9, atol=1e-12)
    expected = np.zeros((6, 8))
    expected[:, hidden] = -2 * codes.T @ left / 9
    np.testing.assert_allclose(slope, expected, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize('visible', [5, 8])
def test_steps_of_the_masked_training_are_those_of_adam(visible, x64):
    """Four steps of optax on two batches, with the masks and the order of the keys; 8 of 8 seen is reconstruction."""
    x = np.asarray(d.planted(KEY, rows=10, dim=8, units=6, active=2, noise=0.1).signals)
    found = d.fit_masked(KEY, x, units=6, active=2, visible=visible, batch=5, epochs=2, rate=1e-2)
    first, key = jax.random.split(KEY)
    atoms, rule = d.rows_as_atoms(first, x, 6), optax.adam(1e-2)
    state, order = rule.init(atoms), None

    def plain(b, rows):
        codes = jax.lax.stop_gradient(d.omp(rows, b, active=2))
        return jnp.mean(jnp.sum((rows - codes @ b) ** 2, axis=1))

    for number in range(4):
        keys = jax.random.split(jax.random.fold_in(key, number))
        if number % 2 == 0:
            order = jax.random.permutation(keys[0], 10)
        rows = x[np.asarray(order)[(number % 2) * 5 :][:5]]
        seen = jax.random.permutation(keys[1], 8)[:visible]
        error = (lambda b: plain(b, rows)) if visible == 8 else lambda b: d.masked_error(rows, b, seen, active=2)  # noqa: B023
        moves, state = rule.update(jax.grad(error)(atoms), state)
        atoms = d.unit_atoms(atoms + moves)
    np.testing.assert_allclose(found, atoms, atol=FLOAT64)


@pytest.mark.slow
def test_hiding_coordinates_finds_atoms_that_reconstruction_does_not_where_there_are_too_many():
    """Four times as many atoms as true ones, noise as long as the signals' fifth; with as many atoms as true ones
    the error of reconstruction is the better one."""
    rng = np.random.default_rng(0)
    atoms = unit(rng.normal(size=(40, 30)))
    codes = np.zeros((600, 40))
    for row in codes:
        row[rng.permutation(40)[:3]] = rng.normal(size=3)
    signals = (unit(codes) @ atoms + 0.1 * rng.normal(size=(600, 30))).astype(np.float32)
    told = {}
    for units in (40, 160):
        for visible in (26, 30):
            found = d.fit_masked(KEY, signals, units=units, active=3, visible=visible, epochs=300, rate=3e-3)
            told[units, visible] = d.recovered(atoms, found)
    assert told[160, 26] > told[160, 30] and told[40, 26] < told[40, 30], told


REFUSED = {
    'no layers': (lambda x: d.deep_codes(x, [], penalties=()), ['dictionaries', 'at least one layer']),
    'widths': (lambda x: d.deep_codes(x, [x, x], penalties=(1.0, 1.0)), ['dictionaries[1] [4, 3]', 'the 4 units']),
    'dim': (lambda x: d.deep_codes(x, [x[:, :2]], penalties=(1.0,)), ['[4, 3]', '[4, 2]']),
    'penalties': (lambda x: d.deep_codes(x, [x], penalties=(1.0, 1.0)), ['penalties', '1 numbers', '2']),
    'coupling': (
        lambda x: d.deep_codes(x, [x, x @ x.T], penalties=(1.0, 1.0), coupling=(1.0, 1.0)),
        ['coupling', '1 numbers', '2'],
    ),
    'not finite': (
        lambda x: d.deep_codes(x, [x, (x @ x.T).at[0].set(jnp.nan)], penalties=(1.0, 1.0)),
        ['dictionaries[1] [4, 4]', 'not finite'],
    ),
    'visible': (lambda x: d.masked_error(x, x, jnp.arange(3), active=1), ['visible', 'not of all']),
    'many visible': (lambda x: d.fit_masked(KEY, x, units=2, active=1, visible=4, batch=2), ['visible', '1 to 3']),
    'active': (lambda x: d.fit_masked(KEY, x, units=4, active=3, visible=2, batch=2), ['active', '1 to 2']),
    'batch': (lambda x: d.fit_masked(KEY, x, units=2, active=1, visible=2), ['batch', '1 to 4', '200']),
    'units': (lambda x: d.fit_masked(KEY, x, units=5, active=1, visible=2, batch=2), ['units', '1 to 4']),
}


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_refused_in_one_line(name, own_checks):
    call, words = REFUSED[name]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    with pytest.raises(ValueError) as caught:
        call(x)
    assert all(word in str(caught.value) for word in words) and '\n' not in str(caught.value), caught.value
