"""Classical dictionary learning: steps against references, and planted dictionaries where theory finds them and not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import dictionaries as d
from sklearn.decomposition import MiniBatchDictionaryLearning
from tolerances import FLOAT64

KEY = jax.random.key(0)


def error(signals, dictionary, codes):
    return float(np.sum((np.asarray(signals) - np.asarray(codes) @ np.asarray(dictionary)) ** 2))


def test_planted_signals_are_what_they_say(x64):
    p = d.planted(KEY, rows=50, dim=6, units=9, active=3)
    np.testing.assert_allclose(p.signals, p.codes @ p.dictionary, atol=FLOAT64)
    assert ((p.codes != 0).sum(1) == 3).all() and (np.abs(p.codes[p.codes != 0]) > 0.5).all()
    np.testing.assert_allclose(jnp.linalg.norm(p.dictionary, axis=1), 1, atol=FLOAT64)
    q = d.planted(KEY, rows=5, dim=6, units=6, active=2, orthogonal=True).dictionary
    np.testing.assert_allclose(q @ q.T, np.eye(6), atol=FLOAT64)
    noisy = d.planted(KEY, rows=50, dim=6, units=9, active=3, noise=0.1)
    assert 0.05 < float(jnp.std(noisy.signals - noisy.codes @ noisy.dictionary)) < 0.15


def test_batches_of_online_learning_are_scikit_learns(x64):
    """Three batches: the moments' forgetting, the codes and the sweep over the atoms are the same."""
    x = np.asarray(d.planted(KEY, rows=96, dim=6, units=9, active=2, noise=0.1).signals)
    first = np.asarray(d.rows_as_atoms(jax.random.key(1), x, 9))
    theirs = MiniBatchDictionaryLearning(9, alpha=0.2, batch_size=32, fit_algorithm='lars', dict_init=first.copy())
    state = d.online_begin(first)
    for start in (0, 32, 64):
        theirs.partial_fit(x[start : start + 32])
        state = d.online_step(state, x[start : start + 32], penalty=0.2, iterations=2000)
        np.testing.assert_allclose(state.dictionary, theirs.components_, atol=1e-6)
    assert state.seen == 96


@pytest.mark.slow
def test_an_atom_that_nothing_uses_becomes_the_signal_that_fits_worst(x64):
    x = np.concatenate([np.eye(4)[:2].repeat(8, axis=0), 5 * np.eye(4)[2:3]])
    first = np.concatenate([np.eye(4)[:2], -np.eye(4)[3:]])
    state = d.online_step(d.online_begin(first), x, penalty=0.1)
    np.testing.assert_allclose(state.dictionary[2], np.eye(4)[2], atol=FLOAT64)
    dictionary, _ = d.ksvd_step(x, first, active=1)
    np.testing.assert_allclose(np.abs(dictionary[2]), np.eye(4)[2], atol=FLOAT64)


def test_ksvd_fits_atoms_in_turn_and_lowers_the_error(x64):
    p = d.planted(KEY, rows=80, dim=6, units=8, active=2, noise=0.05)
    first = d.rows_as_atoms(jax.random.key(1), p.signals, 8)
    codes = np.asarray(d.omp(p.signals, first, active=2))
    dictionary, fitted = d.ksvd_step(p.signals, first, active=2, powers=200)
    expected, own = np.array(first), codes.copy()
    for j in range(8):
        used = own[:, j] != 0
        left = np.asarray(p.signals)[used] - own[used] @ expected + np.outer(own[used, j], expected[j])
        u, s, v = np.linalg.svd(left, full_matrices=False)
        sign = np.sign(v[0] @ expected[j])
        expected[j], own[used, j] = sign * v[0], sign * s[0] * u[:, 0]
    np.testing.assert_allclose(dictionary, expected, atol=1e-5)
    np.testing.assert_allclose(fitted, own, atol=1e-5)
    assert error(p.signals, dictionary, fitted) < error(p.signals, first, codes)
    approximate, found = d.ksvd_step(p.signals, first, active=2, powers=1)
    assert error(p.signals, approximate, found) < error(p.signals, first, codes)


@pytest.mark.slow
def test_twins_are_parted():
    p = d.planted(KEY, rows=60, dim=6, units=8, active=2)
    atoms = jnp.concatenate([p.dictionary[:7], p.dictionary[:1]])
    found, _ = d.ksvd_step(p.signals, atoms, active=2)
    assert float(d.mutual_coherence(found)) < 0.999


def test_orthogonal_steps_never_raise_the_error_and_remember_a_stream(x64):
    p = d.planted(KEY, rows=200, dim=8, units=8, active=2, noise=0.1, orthogonal=True)
    state = d.Orthogonal(jnp.eye(8), jnp.zeros((8, 8)))
    errors = []
    for _ in range(6):
        codes = d.abs_top_k(p.signals @ state.dictionary.T, active=2)
        errors.append(error(p.signals, state.dictionary, codes))
        state = d.orthogonal_step(state, p.signals, active=2)
        np.testing.assert_allclose(state.dictionary @ state.dictionary.T, np.eye(8), atol=FLOAT64)
    assert (np.diff(errors) <= 1e-9).all() and errors[-1] < errors[0]
    kept = d.orthogonal_step(state, p.signals[:20], active=2, memory=1.0)
    np.testing.assert_allclose(kept.cross, state.cross)


@pytest.mark.parametrize('power', [3, 4])
def test_lp_steps_raise_the_norm_of_the_codes(power, x64):
    p = d.planted(KEY, rows=300, dim=8, units=8, active=2, orthogonal=True)
    dictionary, norms = jnp.eye(8), []
    for _ in range(8):
        norms.append(float(jnp.sum(jnp.abs(p.signals @ dictionary.T) ** power)))
        dictionary = d.lp_step(dictionary, p.signals, power=power)
    assert (np.diff(norms) >= -1e-9).all() and norms[-1] > norms[0]


@pytest.mark.parametrize('how', ['orthogonal', 'l4', 'l3'])
def test_planted_orthogonal_dictionaries_are_found_where_codes_are_sparse_and_not_where_they_are_dense(how):
    """A third of the atoms in each signal, and all of them: with dense codes any rotation fits as well."""
    fit = {
        'orthogonal': lambda x, active: d.fit_orthogonal(jax.random.key(1), x, active=active, iterations=60),
        'l4': lambda x, active: d.fit_lp(jax.random.key(1), x),
        'l3': lambda x, active: d.fit_lp(jax.random.key(1), x, power=3),
    }[how]
    shares = {}
    for active in (4, 12):
        p = d.planted(KEY, rows=2000, dim=12, units=12, active=active, noise=0.01, orthogonal=True)
        shares[active] = d.recovered(p.dictionary, fit(p.signals, active))
    assert shares[4] > 0.95 and shares[12] < 0.5, shares


@pytest.mark.slow
@pytest.mark.parametrize('how', ['online', 'ksvd'])
def test_planted_overcomplete_dictionaries_are_found_where_codes_are_sparse_and_not_where_they_are_dense(how):
    """30 atoms of 20 dims: two in each signal, and eight, of which no greedy or convex code finds the support."""
    shares = {}
    for active in (2, 8):
        p = d.planted(KEY, rows=3000, dim=20, units=30, active=active, noise=0.01)
        if how == 'online':
            found = d.fit_online(
                jax.random.key(7), p.signals, units=30, penalty=0.3, batch=64, epochs=8, iterations=60
            ).dictionary
        else:
            found = d.fit_ksvd(jax.random.key(7), p.signals, units=30, active=active, iterations=50)[0]
        shares[active] = d.recovered(p.dictionary, found)
    assert shares[2] > 0.95 and shares[8] < 0.5, shares


X = np.ones((4, 3), np.float32)
REFUSED = {
    'units': (lambda: d.fit_ksvd(KEY, X, units=5, active=1), ['units', '1 to 4', '[4, 3]']),
    'batch': (lambda: d.fit_online(KEY, X, units=2, penalty=0.1, batch=5), ['batch', '1 to 4']),
    'iterations': (lambda: d.fit_ksvd(KEY, X, units=2, active=1, iterations=0), ['iterations', '0']),
    'not finite': (lambda: d.fit_lp(KEY, np.where(X > 0, np.nan, X)), ['signals [4, 3]', 'not finite']),
    'active': (lambda: d.fit_orthogonal(KEY, X, active=4), ['active', '1 to 3']),
    'power': (lambda: d.lp_step(np.eye(3, dtype=np.float32), X, power=2), ['power', '2']),
    'stream': (lambda: d.online_step(d.online_begin(X[:2]), X[:, :2], penalty=0.1), ['[4, 2]', '[2, 3]']),
    'planted': (lambda: d.planted(KEY, rows=2, dim=3, units=4, active=5), ['active', '1 to 4']),
    'not square': (lambda: d.planted(KEY, rows=2, dim=3, units=4, active=1, orthogonal=True), ['4 and 3']),
}


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_refused_in_one_line(name, own_checks):
    call, words = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert '\n' not in message and all(word in message for word in words), message
