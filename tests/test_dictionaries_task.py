"""Codes with the derivative of their optimum, and dictionaries learned through it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import dictionaries as d
from sklearn.datasets import load_digits
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import LogisticRegression
from tolerances import FLOAT64

KEY = jax.random.key(0)
OPTIMAL = 1e-6  # distance of the codes from scikit-learn's optimum
SLOPE = 1e-5  # relative, of central differences with steps of 1e-6
NET = {'penalty': 0.3, 'ridge': 0.2}


def problem(rows=4, dim=5, units=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, dim)), rng.normal(size=(units, dim))


def test_codes_are_those_of_scikit_learn(x64):
    """The ridge is a lasso of signals and atoms with √λ₂ on further coordinates."""
    x, atoms = problem()
    longer = np.concatenate([x, np.zeros((4, 8))], axis=1), np.concatenate([atoms, 0.2**0.5 * np.eye(8)], axis=1)
    codes = np.asarray(d.elastic_net(x, atoms, **NET, iterations=3000))
    expected = sparse_encode(*longer, algorithm='lasso_cd', alpha=0.3, max_iter=100_000)
    assert 0 < (codes != 0).mean() < 1
    np.testing.assert_allclose(codes, expected, atol=1e-3)  # coordinate descent stops at its own tolerance
    slope = (codes @ atoms - x) @ atoms.T + 0.2 * codes
    off = np.where(codes != 0, np.abs(slope + 0.3 * np.sign(codes)), np.maximum(np.abs(slope) - 0.3, 0))
    assert off.max() < OPTIMAL
    plain = d.elastic_net(x, atoms[:4], penalty=0.3, ridge=0.0, iterations=2000)
    np.testing.assert_allclose(plain, d.fista(x, atoms[:4], penalty=0.3, iterations=2000), atol=FLOAT64)


def test_the_derivative_is_that_of_the_optimum(x64):
    x, atoms = problem()
    weights = np.random.default_rng(1).normal(size=(4, 8))

    @jax.jit
    def value(x, atoms, penalty, ridge):
        codes = d.elastic_net(x, atoms, penalty=penalty, ridge=ridge, iterations=3000)
        return jnp.sum(weights * codes + 0.5 * codes**2)

    point = (x, atoms, 0.3, 0.2)
    slopes = jax.jit(jax.grad(value, argnums=(0, 1, 2, 3)))(*point)
    for which, slope in enumerate(slopes):
        direction = np.random.default_rng(which).normal(size=np.shape(point[which]))
        ends = [value(*point[:which], point[which] + s * 1e-6 * direction, *point[which + 1 :]) for s in (1, -1)]
        np.testing.assert_allclose(np.sum(slope * direction), (ends[0] - ends[1]) / 2e-6, rtol=SLOPE)


@pytest.mark.slow
def test_few_atoms_of_a_task_say_more_of_digits_than_as_many_of_the_signals():
    """Eight atoms of 64 pixels: means of two starts are 0.97 and 0.90 with all labels."""
    x, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, labels = ((x - x.mean(0)) / 8.0).astype(np.float32)[order], labels[order]
    train, test = slice(0, 1437), slice(1437, None)
    before = d.fit_online(KEY, x[train], units=8, penalty=0.2).dictionary
    codes = [np.asarray(d.elastic_net(x[part], before, penalty=0.2, ridge=0.01)) for part in (train, test)]
    hidden = np.where(np.arange(1437) % 5 == 0, labels[train], -1)  # four rows of five without a label
    for known, share in ((labels[train], 0.0), (hidden, 0.02)):
        some = known >= 0
        plain = LogisticRegression(C=1e2, max_iter=2000).fit(codes[0][some], known[some]).score(codes[1], labels[test])
        fitted = d.fit_task_driven(KEY, x[train], known, units=8, penalty=0.2, unsupervised=share, steps=1500)
        found = np.asarray(d.task_scores(fitted, x[test], penalty=0.2)).argmax(1)
        accuracy = (found == labels[test]).mean()
        assert accuracy > plain + 0.03
        np.testing.assert_allclose(jnp.linalg.norm(fitted.dictionary, axis=1), 1, rtol=1e-5)


RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(20, 12)).astype(np.float32), RNG.integers(0, 2, 20)
REFUSED = {
    'labels': (lambda: d.fit_task_driven(KEY, X, LABELS[:3], units=2, penalty=0.1), ['labels', '[20, 12]', '[3]']),
    'below': (lambda: d.fit_task_driven(KEY, X, LABELS - 2, units=2, penalty=0.1), ['labels', 'from -1']),
    'one': (lambda: d.fit_task_driven(KEY, X, 0 * LABELS, units=2, penalty=0.1), ['two classes', '1']),
    'share': (
        lambda: d.fit_task_driven(KEY, X, LABELS, units=2, penalty=0.1, unsupervised=1.0),
        ['unsupervised', '1.0'],
    ),
    'units': (lambda: d.fit_task_driven(KEY, X, LABELS, units=21, penalty=0.1), ['units', '1 to 20']),
    'width': (lambda: d.elastic_net(X, X[:, :3], penalty=0.1, ridge=0.1), ['[20, 12]', '[20, 3]']),
}


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_refused_in_one_line(name, own_checks):
    call, words = REFUSED[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert '\n' not in str(caught.value) and all(word in str(caught.value) for word in words), caught.value
