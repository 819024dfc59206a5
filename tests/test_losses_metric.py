"""Metric learning with labels, against NumPy in float64."""

import jax
import numpy as np
import pytest
from programs import compiled
from selfsup import losses
from tolerances import FLOAT64

RNG = np.random.default_rng(0)
Z, LABELS = RNG.normal(size=(9, 5)), np.asarray([0, 1, 0, 2, 1, -1, 2, 0, -1])
TRIPLES = [RNG.normal(size=(9, 5)) for _ in range(3)]


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def mean_above_zero(terms):
    kept = [t for t in terms if t > 0]
    return np.mean(kept) if kept else 0.0


@pytest.mark.parametrize(('near', 'far'), [(0.0, 0.5), (0.3, 1.4)])
def test_pairs_are_those_of_the_loop(near, far, x64):
    pulled, pushed = [], []
    for i, j in np.ndindex(9, 9):
        distance = np.linalg.norm(unit(Z)[i] - unit(Z)[j])
        if i != j and min(LABELS[i], LABELS[j]) >= 0:
            (pulled if LABELS[i] == LABELS[j] else pushed).append(
                distance - near if LABELS[i] == LABELS[j] else far - distance
            )
    found = compiled(losses.pair_margin, positive_margin=near, negative_margin=far)(Z, LABELS)
    np.testing.assert_allclose(found, mean_above_zero(pulled) + mean_above_zero(pushed), rtol=FLOAT64)


@pytest.mark.parametrize('share', ['drawn', 0.0, 1.0])
def test_mixtures_are_those_of_the_loop_and_their_ends_are_pairs(share, x64):
    shares = RNG.beta(2, 2, size=9) if share == 'drawn' else np.full(9, share)
    a, p, n = TRIPLES
    mixed = shares[:, None] * unit(p) + (1 - shares[:, None]) * unit(n)
    s = np.linalg.norm(unit(a) - unit(mixed), axis=1)
    expected = mean_above_zero(shares * (s - 0.1)) + mean_above_zero((1 - shares) * (1.5 - s))
    margins = {'positive_margin': 0.1, 'negative_margin': 1.5}
    found = compiled(losses.mixed_pairs, **margins)(a, p, n, shares)
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    if share != 'drawn':  # one pair a row, of one class or of two
        other = p if share else n
        pairs = [
            compiled(losses.pair_margin, **margins)(np.stack(two), np.array([0, 0 if share else 1]))
            for two in zip(a, other, strict=True)
        ]
        np.testing.assert_allclose(found, mean_above_zero(pairs), rtol=FLOAT64)


def test_proxies_are_those_of_the_loop(x64):
    proxies = RNG.normal(size=(4, 5))  # the fourth has no example
    cosines, near, far = unit(Z) @ unit(proxies).T, [], []
    for k in range(4):
        own = [np.exp(-8 * (cosines[i, k] - 0.2)) for i in range(9) if LABELS[i] == k]
        other = [np.exp(8 * (cosines[i, k] + 0.2)) for i in range(9) if LABELS[i] not in (k, -1)]
        near += [np.log1p(sum(own))] if own else []
        far.append(np.log1p(sum(other)))
    found = compiled(losses.proxy_anchor, scale=8.0, margin=0.2)(Z, proxies, LABELS)
    np.testing.assert_allclose(found, np.mean(near) + np.mean(far), rtol=FLOAT64)


EDGES = {
    'pairs of equal rows': lambda z: losses.pair_margin(z[:1].repeat(4, axis=0), np.asarray([0, 0, 1, 1])),
    'rows of zeros': lambda z: losses.pair_margin(0 * z, LABELS),
    'no label': lambda z: losses.pair_margin(z, -np.ones(9, int)),
    'equal triples': lambda z: losses.mixed_pairs(z, z, z, np.full(9, 0.5)),
    'opposite halves': lambda z: losses.mixed_pairs(z, z, -z, np.full(9, 0.5)),
    'proxies of one class': lambda z: losses.proxy_anchor(z, z[:3], np.zeros(9, int)),
    'proxies without labels': lambda z: losses.proxy_anchor(z, z[:3], -np.ones(9, int)),
    'proxies at a large scale': lambda z: losses.proxy_anchor(z, z[:3], LABELS, scale=1e4),
}  # fmt: skip


@pytest.mark.parametrize('name', EDGES)
def test_values_and_gradients_at_the_edges_are_finite(name):
    value, gradient = jax.jit(jax.value_and_grad(EDGES[name]))(Z.astype(np.float32))
    assert np.isfinite(value) and value >= 0 and np.isfinite(gradient).all()


def test_a_step_down_the_gradient_pulls_classes_together_and_others_apart(x64):
    labels = np.asarray([0, 0, 0, 1, 1, 1, 2, 2, 2])
    pairs = jax.jit(jax.grad(lambda z: losses.pair_margin(z, labels, negative_margin=1.5)))
    proxies = jax.jit(jax.grad(lambda z: losses.proxy_anchor(z[:9], z[9:], labels)))
    for slope, rows, rate in ((pairs, 9, 1.0), (proxies, 12, 0.05)):
        z = np.random.default_rng(3).normal(size=(rows, 5))
        for _ in range(300):
            z = z - rate * np.asarray(slope(z))
        nearest = unit(z[:9]) @ unit(z[9:] if rows == 12 else z).T
        if rows == 12:
            assert (nearest.argmax(1) == labels).all()
        else:
            same = labels[:, None] == labels[None]
            assert nearest[same].min() > nearest[~same].max()


REFUSED = {
    'labels': (lambda: losses.pair_margin(Z, LABELS[:3]), ['labels', '[3]', '[9, 5]']),
    'kind of label': (lambda: losses.proxy_anchor(Z, Z, LABELS / 2), ['labels', 'float64']),
    'width': (lambda: losses.proxy_anchor(Z, Z[:, :3], LABELS), ['prototypes', '[9, 3]', '[9, 5]']),
    'scale': (lambda: losses.proxy_anchor(Z, Z, LABELS, scale=0.0), ['scale', '0.0']),
    'negatives': (lambda: losses.mixed_pairs(Z, Z, Z[:4], np.ones(9)), ['anchors', 'negatives', '[4, 5]']),
    'shares': (lambda: losses.mixed_pairs(Z, Z, Z, np.ones(4)), ['shares', '[4]', '[9, 5]']),
}


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_refused_in_one_line(name, own_checks, x64):
    call, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert '\n' not in str(caught.value) and all(word in str(caught.value) for word in words), caught.value


def test_rows_that_do_not_count_add_nothing(x64):
    shares, counted = RNG.beta(2, 2, size=9), np.arange(9) < 6
    some = compiled(losses.mixed_pairs)(*(t[:6] for t in TRIPLES), shares[:6])
    found = losses.mixed_pairs(*TRIPLES, shares, counted=counted)
    np.testing.assert_allclose(found, some, rtol=FLOAT64)
