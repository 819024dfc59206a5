"""Absorption and splitting of concepts: against a loop over rows, and on a planted hierarchy that shows each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import dictionaries, evals
from selfsup.errors import UserError
from tolerances import FLOAT64

CHILDREN, EACH = 20, 12  # classes of each of two concepts, and rows of a class


def by_loop(inputs, codes, atoms, direction, main):
    """Fraction and full absorption of each row, by the sentences of the paper, with the defaults of its code."""
    p = direction / np.linalg.norm(direction)
    told = []
    for x, z in zip(inputs, codes, strict=True):
        whole = x @ p
        parts = [z[i] * (atoms[i] @ p) for i in range(len(atoms))]
        cosines = [atoms[i] @ p / np.linalg.norm(atoms[i]) for i in range(len(atoms))]
        mine = sum(parts[i] for i in main)
        others = [parts[i] for i in range(len(atoms)) if i not in main and cosines[i] >= 0.1 and parts[i] > 0]
        taken = sum(sorted(others)[-3:])
        if whole <= 0 or mine >= whole or taken < 0.4 * whole:
            fraction = 0.0
        elif mine <= 0:
            fraction = 1.0
        else:
            fraction = min(taken, whole - mine) / (min(taken, whole - mine) + mine)
        top = int(np.argmax(parts))
        silent = all(z[i] == 0 for i in main)
        told.append((fraction, whole > 0 and silent and cosines[top] >= 0.025 and parts[top] >= 0.4 * whole))
    return [np.array(z) for z in zip(*told, strict=True)]


def test_rows_follow_the_loop(x64):
    rng = np.random.default_rng(0)
    atoms, direction = rng.normal(size=(9, 5)), rng.normal(size=5)
    codes = np.abs(rng.normal(size=(300, 9))) * (rng.random((300, 9)) < 0.3)
    inputs = codes @ atoms + 0.1 * rng.normal(size=(300, 5))
    found = dictionaries.absorption(inputs, codes, atoms, direction, [2, 7])
    fraction, full = by_loop(inputs, codes, atoms, direction, [2, 7])
    np.testing.assert_allclose(found.fraction, fraction, rtol=FLOAT64, atol=1e-12)
    np.testing.assert_array_equal(found.full, full)
    assert {0.0, 1.0} < set(np.round(fraction, 6)) and 0 < full.mean() < 1  # every branch is met
    traced = jax.jit(lambda *z: dictionaries.absorption(*z, np.array([2, 7])))(inputs, codes, atoms, direction)
    np.testing.assert_allclose(traced.fraction, fraction, rtol=FLOAT64, atol=1e-12)
    longer = dictionaries.absorption(inputs, codes / 3, 3 * atoms, 5 * direction, [2, 7])
    np.testing.assert_allclose(longer.fraction, fraction, rtol=1e-9, atol=1e-12)


def hierarchy(kind, seed):
    """Rows of two concepts of twenty classes, with the codes of an honest, an absorbing or a splitting dictionary.

    Atoms 0 and 1 are the concepts, the others the classes. Of the absorbing one the first class of each concept has an
    atom that holds its concept too, and the concept's unit is off for it; of the splitting one each half of the classes
    has a unit for the concept of its own.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(2 * CHILDREN), EACH)
    concept, rows = labels // CHILDREN, np.arange(len(labels))
    atoms = np.eye(2 * CHILDREN + 4)
    codes = np.zeros((len(labels), len(atoms)))
    codes[rows, concept], codes[rows, 2 + labels] = 1, 1
    first = labels % CHILDREN == 0
    if kind == 'absorbing':
        for number in range(2):
            atoms[2 + CHILDREN * number, number] = 1
        codes[first, concept[first]] = 0
    if kind == 'splitting':
        second = labels % CHILDREN >= CHILDREN // 2
        atoms[-2:] = atoms[:2]
        codes[second, concept[second]] = 0
        codes[rows[second], len(atoms) - 2 + concept[second]] = 1
    clean = codes @ atoms + 0.5
    inputs = clean + 0.02 * rng.normal(size=clean.shape)
    return evals.Coded(*(z.astype(np.float32) for z in (inputs, codes, clean)), labels), atoms.astype(np.float32)


PARENTS = [0] * CHILDREN + [1] * CHILDREN


@pytest.mark.parametrize(
    ('kind', 'absorbed', 'split'), [('honest', 0, 0), ('absorbing', 1 / CHILDREN, 0), ('splitting', 0, 1)]
)
def test_a_planted_hierarchy_shows_what_its_dictionary_does(kind, absorbed, split):
    (train, atoms), (test, _) = hierarchy(kind, 0), hierarchy(kind, 1)
    found = evals.absorption(train, test, atoms, PARENTS)
    assert found['absorption_concepts'] == 2 and found['split_units'] == split
    assert found['absorption'] == pytest.approx(absorbed, abs=1e-3)
    assert found['absorption_full'] == pytest.approx(absorbed, abs=1e-3)


def test_rows_without_a_label_and_concepts_that_no_probe_finds_do_not_count():
    (train, atoms), (test, _) = hierarchy('absorbing', 0), hierarchy('absorbing', 1)
    some = evals.Coded(*(np.concatenate([z, z[:5]]) for z in test[:3]), np.append(test.labels, [-1] * 5))
    assert evals.absorption(train, some, atoms, PARENTS) == evals.absorption(train, test, atoms, PARENTS)
    noise = np.random.default_rng(0).normal(size=train.inputs.shape).astype(np.float32)
    found = evals.absorption(train._replace(inputs=noise), test._replace(inputs=noise[::-1]), atoms, PARENTS)
    assert found['absorption_concepts'] == 0 and np.isnan(found['absorption'])


@pytest.mark.parametrize(
    ('call', 'error', 'words'),
    [
        (lambda x: dictionaries.absorption(x, x, x, x[0], []), ValueError, ['main', '0 to 3', '[]']),
        (lambda x: dictionaries.absorption(x, x, x, x[0], [4]), ValueError, ['main', '[4]']),
        (lambda x: dictionaries.absorption(x, x, x, 0 * x[0], [1]), ValueError, ['direction [4]', 'zero']),
        (lambda x: dictionaries.absorption(x, x[:, :3], x, x[0], [1]), ValueError, ['codes [4, 3]', 'atoms [4, 4]']),
        (lambda x: dictionaries.absorption(x, x, x, x[0] * jnp.nan, [1]), ValueError, ['direction', 'not finite']),
        (lambda x: evals.absorption(*coded(x), np.eye(4), [0, 0]), UserError, ['parents', '2 numbers', '[0, 0]']),
        (lambda x: evals.absorption(*coded(x), np.eye(4), [0]), UserError, ['parents', '2 numbers']),
        (lambda x: evals.absorption(*coded(x), np.eye(3), [0, 1]), UserError, ['atoms [3, 3]', 'codes [4, 4]']),
    ],
)
def test_bad_input_is_refused_in_one_line(call, error, words, own_checks):
    with pytest.raises(error) as caught:
        call(jnp.eye(4) + 1)
    assert all(word in str(caught.value) for word in words) and '\n' not in str(caught.value), caught.value


def coded(x):
    """Two parts of four rows."""
    part = evals.Coded(*[np.asarray(x)] * 3, np.array([0, 1, 0, 1]))
    return part, part
