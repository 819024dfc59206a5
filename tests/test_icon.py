"""I-Con: its kernels, and the losses that it is for some of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_rows import views
from programs import compiled, losses
from selfsup import losses as plain
from sklearn.cluster import KMeans
from sklearn.manifold import _utils
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64

ROWS = np.random.default_rng(0).normal(size=(14, 3))
LABELS = np.tile(np.arange(16), 2)

# The authors' code on the golden inputs, both views one below the other; p of the other view, unless said.
GOLDEN = {
    'cosine': (lambda z: plain.cosine_kernel(z), 1.8772075433),
    'cosine, leak': (lambda z: plain.leak(plain.cosine_kernel(z), share=0.2, itself=True), 2.0504324358),
    'gaussian': (lambda z: plain.gaussian_kernel(z, width=1.3), 2.0554424388),
    'student': (lambda z: plain.student_kernel(z, width=2**0.5), 2.3470197497),  # their γ = 2
    'cluster': (lambda z: plain.cluster_kernel(jax.nn.softmax(z)), 3.1276053301),
    'cluster, leak': (lambda z: plain.leak(plain.cluster_kernel(jax.nn.softmax(z)), share=0.3, itself=True), 3.2171317526),
}  # fmt: skip
OF_TARGETS = {
    'labels': (lambda z: plain.label_kernel(jnp.arange(32) % 5), 3.9167373724, 2e-7),  # theirs are float32
    'neighbours': (lambda z: plain.neighbour_kernel(z, k=3), 2.2433537469, GOLDEN_FLOAT64),
}


@pytest.mark.parametrize('kernel, expected', GOLDEN.values(), ids=GOLDEN)
def test_golden_learned(kernel, expected, golden, x64):
    z = np.concatenate(golden)
    found = jax.jit(lambda z: plain.icon(plain.label_kernel(LABELS), kernel(z)))(z)
    assert abs(float(found) - expected) < GOLDEN_FLOAT64


@pytest.mark.parametrize('kernel, expected, tolerance', OF_TARGETS.values(), ids=OF_TARGETS)
def test_golden_targets(kernel, expected, tolerance, golden, x64):
    z = np.concatenate(golden)
    found = jax.jit(lambda z: plain.icon(kernel(z), plain.gaussian_kernel(z, width=1.3)))(z)
    assert abs(float(found) - expected) < tolerance


def test_pairs_and_cosines_are_ntxent(x64):
    z1, z2 = views()
    found = compiled(plain.icon_views, temperature=0.3, learned_leak=0.0)
    expected = compiled(plain.ntxent, temperature=0.3)
    np.testing.assert_allclose(found(z1, z2), expected(z1, z2), rtol=FLOAT64)
    slopes = [jax.jit(jax.grad(lambda a, f=f: f(a, z2)))(z1) for f in (found, expected)]
    np.testing.assert_allclose(*slopes, atol=1e-12)


def test_labels_and_cosines_are_supcon(x64):
    z1, z2 = views()
    labels = np.arange(16) % 3

    @jax.jit
    def ours(z1, z2):
        z = jnp.concatenate([z1, z2])
        return plain.icon(plain.label_kernel(jnp.tile(labels, 2)), plain.cosine_kernel(z, temperature=0.1))

    np.testing.assert_allclose(ours(z1, z2), compiled(plain.supcon)(z1, z2, labels), rtol=FLOAT64)


def test_the_in_batch_loss_of_one_direction_is_a_block_of_it(x64):
    """InfoNCE of queries against keys: the rows of the queries, whose neighbours are keys alone."""
    query, key = views()
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (query, key)]
    logits = unit[0] @ unit[1].T / 0.2
    log_q = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    with np.errstate(divide='ignore'):
        found = losses.icon(np.log(np.eye(16)), log_q)
    np.testing.assert_allclose(found, losses.info_nce_in_batch(query, key, temperature=0.2), rtol=FLOAT64)


def test_gaussians_are_sne(x64):
    """Value and gradient of stochastic neighbour embedding; widths by scikit-learn's search for a perplexity."""
    x = np.random.default_rng(1).normal(size=(20, 5))
    y = np.random.default_rng(2).normal(size=(20, 2))
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    p = _utils._binary_search_perplexity(squared.astype(np.float32), 6.0, 0).astype(float)
    width = losses.perplexity_widths(x, perplexity=6.0)
    log_p = losses.gaussian_kernel(x, width=width)
    np.testing.assert_allclose(np.exp(log_p), p, atol=2e-5)  # theirs stops at 1e-5 of the entropy
    p = np.exp(log_p)

    def ours(y):
        return plain.icon(log_p, plain.gaussian_kernel(y, width=2**-0.5), entropy=True)

    found, slope = jax.jit(jax.value_and_grad(ours))(y)
    weights = np.exp(-((y[:, None] - y[None]) ** 2).sum(-1)) * ~np.eye(20, dtype=bool)
    q = weights / weights.sum(1, keepdims=True)
    off = ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(found, np.sum(p[off] * np.log(p[off] / q[off])) / 20, rtol=FLOAT64)
    pull = (p - q + (p - q).T)[:, :, None] * (y[:, None] - y[None])
    np.testing.assert_allclose(slope, 2 * pull.sum(1) / 20, atol=1e-12)  # Hinton and Roweis, eq. 5, over the rows


def test_hard_clusters_and_gaussians_are_k_means(x64):
    """Of all partitions the one of least inertia has the least loss, which is inertia / (rows·σ²) and a constant."""
    x = np.random.default_rng(4).normal(size=(9, 2))
    x[3:6] += 1.5
    kernel = losses.gaussian_kernel(x, width=0.7, itself=True)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    constant = np.mean(np.log(np.exp(-squared / (2 * 0.49)).sum(1)))
    partitions = np.array([(0, *rest) for rest in itertools.product(range(2), repeat=8) if any(rest)])

    def inertia(own):
        return sum(((x[own == c] - x[own == c].mean(0)) ** 2).sum() for c in set(own))

    of_clusters = jax.jit(jax.vmap(lambda own: plain.icon(plain.cluster_kernel(jax.nn.one_hot(own, 2)), kernel)))
    found, inertias = np.asarray(of_clusters(partitions)), np.array([inertia(own) for own in partitions])
    np.testing.assert_allclose(found, inertias / (9 * 0.49) + constant, rtol=FLOAT64)
    best = KMeans(2, n_init=10, random_state=0).fit(x)
    np.testing.assert_allclose(inertias[np.argmin(found)], best.inertia_, rtol=1e-6)


def test_in_the_limit_of_small_widths_the_divergence_is_k_means_too(x64):
    """σ²·KL, less σ² times the logarithm of the normaliser, goes to inertia / rows: the entropy of p no longer counts."""
    x, own = np.random.default_rng(5).normal(size=(12, 2)), np.arange(12) % 3
    inertia = sum(((x[own == c] - x[own == c].mean(0)) ** 2).sum() for c in range(3))
    target = losses.cluster_kernel(np.eye(3)[own])
    gaps = []
    for width in (1.0, 0.1, 0.01):
        kernel = losses.gaussian_kernel(x, width=width, itself=True)
        normaliser = -np.mean(np.diagonal(kernel))
        gaps.append(abs(width**2 * (losses.icon(target, kernel, entropy=True) - normaliser) - inertia / 12))
    np.testing.assert_allclose(gaps, np.log(4) * np.array([1.0, 0.01, 0.0001]), rtol=1e-6)


KERNELS = {
    'cosine': lambda z: plain.cosine_kernel(z),
    'gaussian': lambda z: plain.gaussian_kernel(z, width=jnp.linspace(0.5, 2, len(z))),
    'student': lambda z: plain.student_kernel(z),
    'cluster': lambda z: plain.cluster_kernel(jax.nn.softmax(z)),
    'labels': lambda z: plain.label_kernel(jnp.arange(len(z)) // 2),
    'neighbours': lambda z: plain.neighbour_kernel(z, k=4),
    'leak': lambda z: plain.leak(plain.neighbour_kernel(z, k=4), share=0.3),
    'itself': lambda z: plain.leak(plain.gaussian_kernel(z, itself=True), share=0.3, itself=True),
}


@pytest.mark.parametrize('name', KERNELS)
def test_rows_are_distributions(name, x64):
    log_kernel = np.asarray(jax.jit(KERNELS[name])(ROWS))
    np.testing.assert_allclose(np.exp(log_kernel).sum(1), 1, rtol=FLOAT64)
    assert np.isneginf(np.diagonal(log_kernel)).all() == (name not in ('cluster', 'itself'))
    divergence = losses.icon(log_kernel, log_kernel, entropy=True)
    np.testing.assert_allclose(divergence, 0, atol=1e-12)


def test_a_row_without_neighbours_counts_for_nothing():
    target = plain.label_kernel(jnp.array([0, 0, 1]))
    assert np.isneginf(target[2]).all()
    found = losses.icon(np.asarray(target), np.full((3, 3), np.log(1 / 3), np.float32))
    np.testing.assert_allclose(found, 2 / 3 * np.log(3), rtol=FLOAT32)


@pytest.mark.parametrize('itself', [False, True])
def test_gradients_at_hard_clusters_are_finite(itself):
    """Rows that share no cluster have −∞ in their kernel, with and without a leak."""
    assignments = np.eye(3, dtype=np.float32)[np.arange(6) % 3]

    def loss(phi, share):
        q = plain.leak(plain.cluster_kernel(phi), share=share, itself=itself)
        return plain.icon(plain.cluster_kernel(assignments), q)

    for share in (0.0, 0.2):
        found, slope = jax.jit(jax.value_and_grad(loss), static_argnums=1)(assignments, share)
        assert np.isfinite(found) and np.isfinite(slope).all()


def test_a_leak_bounds_what_a_wrong_neighbour_costs():
    z = np.concatenate([ROWS, -ROWS]).astype(np.float32)  # each other view is the farthest row
    bounded = compiled(plain.icon_views, temperature=0.01)(z[:14], z[14:])
    assert np.log(27) < bounded <= np.log(27 / 0.2) + 1e-5
    assert compiled(plain.icon_views, temperature=0.01, learned_leak=0.0)(z[:14], z[14:]) > 100


def test_widths_follow_the_scale_of_their_rows():
    x = ROWS.astype(np.float32)
    np.testing.assert_allclose(
        losses.perplexity_widths(30 * x, perplexity=5.0), 30 * losses.perplexity_widths(x, perplexity=5.0), rtol=1e-4
    )
