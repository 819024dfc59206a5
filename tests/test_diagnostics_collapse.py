"""The alarm on planted failures and health, its sentence, and neural collapse against NumPy."""

import jax
import numpy as np
import pytest
from selfsup import diagnostics
from sklearn.neighbors import NearestCentroid


def cloud(n=256, d=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def pairs(noise=0.3, **shape):
    z = cloud(**shape)
    return z, z + noise * cloud(seed=1, **shape)


def low_rank():
    z1, z2 = pairs()
    keep = (np.arange(64) < 4).astype(np.float32)
    return z1 * keep, z2 * keep


FAILURES = {
    'healthy': (pairs, set(), 'Not collapsed: standard deviation'),
    'shrunk': (lambda: tuple(1e-5 * z for z in pairs()), {'shrunk'}, 'shrunk to a standard deviation of 1.0'),
    'narrow': (lambda: tuple(z + 100 for z in pairs()), {'narrow'}, 'point in one direction'),
    'wrong positives': (
        lambda: (cloud(), cloud(seed=1)),
        {'unaligned'},
        'times as far apart as shuffled pairs (at most 0.9',
    ),
    'low rank': (low_rank, {'flat'}, 'fill only 4 dimensions'),
    'a point': (
        lambda: (np.zeros((256, 64), np.float32),) * 2,
        {'shrunk', 'narrow', 'unaligned', 'flat'},
        'fill only 1 dimensions',
    ),
    'nan': (
        lambda: (cloud() * np.nan, cloud()),
        {'shrunk', 'narrow', 'unaligned', 'flat'},
        'the embeddings are not finite.',
    ),
}


@pytest.mark.parametrize('make, flags, words', FAILURES.values(), ids=FAILURES.keys())
def test_alarm(make, flags, words):
    alarm = jax.jit(diagnostics.collapse_alarm)(*make())
    raised = {name for name in ('shrunk', 'narrow', 'unaligned', 'flat') if bool(alarm[name])}
    assert raised == flags
    assert bool(alarm['collapsed']) == bool(flags)
    sentence = diagnostics.evidence(jax.device_get(alarm))
    assert words in sentence and sentence.endswith('.') and sentence.count('. ') == 0
    assert sentence.startswith('Collapsed: ' if flags else 'Not collapsed: ')


@pytest.mark.parametrize('make, flags, words', FAILURES.values(), ids=FAILURES.keys())
def test_alarm_of_one_view(make, flags, words):
    """Without a second view there is nothing of pairs, and the other numbers are those of that view."""
    z = make()[0]
    alarm = jax.jit(diagnostics.collapse_alarm)(z)
    assert not {'relative_alignment', 'relative_alignment_limit', 'unaligned'} & set(alarm)
    raised = {name for name in ('shrunk', 'narrow', 'flat') if bool(alarm[name])}
    assert raised == flags - {'unaligned'} and bool(alarm['collapsed']) == bool(raised)
    twice = diagnostics.collapse_alarm(z, z)
    for name in ('deviation', 'deviation_normalized'):
        np.testing.assert_allclose(alarm[name], twice[name], rtol=1e-6)
    sentence = diagnostics.evidence(jax.device_get(alarm))
    assert sentence.startswith('Collapsed: ' if raised else 'Not collapsed: ') and 'pairs' not in sentence


def test_alarm_in_few_dimensions_does_not_ask_for_twelve():
    alarm = diagnostics.collapse_alarm(*pairs(d=8))
    assert float(alarm['rank_limit']) == 2 and not bool(alarm['collapsed'])


def test_limits_may_be_traced():
    z1, z2 = pairs()
    flat = jax.jit(lambda rank: diagnostics.collapse_alarm(z1, z2, rank=rank)['rank_limit'])
    assert float(flat(5.0)) == 5


def simplex(classes=4, per_class=20, d=6, spread=0.0, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.eye(classes) - 1 / classes
    basis, _ = np.linalg.qr(rng.normal(size=(d, classes)))
    labels = np.repeat(np.arange(classes), per_class)
    return corners @ basis.T, corners[labels] @ basis.T + spread * rng.normal(size=(len(labels), d)) + 5.0, labels


def numpy_neural_collapse(z, labels, weights, bias):
    classes = labels.max() + 1
    means = np.stack([z[labels == c].mean(0) for c in range(classes)])
    m = means - means.mean(0)
    within = (z - means[labels]).T @ (z - means[labels]) / len(z)
    between = m.T @ m / classes
    unit = m / np.linalg.norm(m, axis=1, keepdims=True)
    off = ~np.eye(classes, dtype=bool)
    norms = np.linalg.norm(m, axis=1)
    return {
        'nc1': np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / classes,
        'nc2_norm': norms.std() / norms.mean(),
        'nc2_angle': np.abs((unit @ unit.T)[off] + 1 / (classes - 1)).mean(),
        'nc3': np.linalg.norm(weights.T / np.linalg.norm(weights) - m / np.linalg.norm(m)) ** 2,
        'nc4': np.mean(np.argmax(z @ weights + bias, 1) != NearestCentroid().fit(z, labels).predict(z)),
    }


def test_neural_collapse_equals_numpy(x64):
    rng = np.random.default_rng(1)
    _, z, labels = simplex(spread=0.5)
    z, labels = z[5:], labels[5:]  # classes of unequal size
    weights, bias = rng.normal(size=(6, 4)), rng.normal(size=4)
    ours = diagnostics.neural_collapse(z, labels, weights=weights, bias=bias)
    for name, value in numpy_neural_collapse(z, labels, weights, bias).items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-8, err_msg=name)
    assert set(diagnostics.neural_collapse(z, labels)) == {'nc1', 'nc2_norm', 'nc2_angle'}


def test_perfect_neural_collapse_and_its_limits(x64):
    corners, z, labels = simplex()
    perfect = diagnostics.neural_collapse(z, labels, weights=3 * corners.T, bias=-3 * 5.0 * corners.sum(1))
    assert all(abs(float(v)) < 1e-9 for v in perfect.values()), perfect
    point = diagnostics.neural_collapse(np.zeros((80, 6)), labels)
    assert float(point['nc1']) == np.inf and float(point['nc2_norm']) == 0
    assert abs(float(point['nc2_angle']) - 1 / 3) < 1e-9
    # Chance alone separates the means of noise: samples·(C − 1) / (C·dim)
    noise = np.random.default_rng(0).normal(size=(400, 200))
    nc1 = float(diagnostics.neural_collapse(noise, np.arange(400) % 4)['nc1'])
    assert abs(nc1 / (400 * 3 / 4 / 200) - 1) < 0.1


BAD = {
    'pairs': (lambda: diagnostics.collapse_alarm(np.ones((4, 3)), np.ones((5, 3))), r'\[4, 3\] and \[5, 3\]'),
    'one class': (lambda: diagnostics.neural_collapse(np.ones((4, 3)), np.zeros(4, int)), 'two classes'),
    'empty class': (lambda: diagnostics.neural_collapse(np.ones((2, 3)), np.array([0, 2])), 'class 1 of 3 has no row'),
    'traced': (
        lambda: jax.jit(diagnostics.neural_collapse)(np.ones((2, 3)), np.array([0, 1])),
        'classes must be given',
    ),
    'weights': (
        lambda: diagnostics.neural_collapse(np.ones((2, 3)), np.array([0, 1]), weights=np.ones((4, 2))),
        r'\[2, 4\] and \[2, 3\]',
    ),
    'bias': (
        lambda: diagnostics.neural_collapse(
            np.ones((2, 3)), np.array([0, 1]), weights=np.ones((3, 2)), bias=np.ones(3)
        ),
        r'\[2\].*not \[3\]',
    ),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
