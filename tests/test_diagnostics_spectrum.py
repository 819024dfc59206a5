"""Ranks, spectra, one-pass summaries and LiDAR against golden values, NumPy loops and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import diagnostics
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64


def cloud(n=64, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def power_law(alpha, n=2000, d=120):
    left, _ = np.linalg.qr(cloud(n, d) - cloud(n, d).mean(0))
    right, _ = np.linalg.qr(cloud(d, d, 1))
    return left * np.arange(1, d + 1) ** (-alpha / 2) @ right.T


GOLDEN = {
    'nesum': (lambda x, y: diagnostics.nesum(x), 4.006056504),
    'lidar': (lambda x, y: diagnostics.lidar(np.stack([x, y], axis=1)), 3.196369690),
    'rank of eigenvalues': (
        lambda x, y: np.exp(-np.sum((p := np.asarray(diagnostics.covariance_spectrum(x) / 1.0)) / p.sum()
                                    * np.log(p / p.sum()))),
        4.974261157,
    ),
}  # fmt: skip


@pytest.mark.parametrize('function, value', GOLDEN.values(), ids=GOLDEN.keys())
def test_golden(function, value, golden, x64):
    assert abs(float(function(*golden)) - value) < GOLDEN_FLOAT64
    single = function(*(z.astype(np.float32) for z in golden))
    np.testing.assert_allclose(single, value, rtol=FLOAT32)


def numpy_alpha(z, first, last):
    centred = z - z.mean(0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(z))[::-1]
    j = np.arange(first, last + 1)
    slope, _ = np.polyfit(np.log(j), np.log(eigenvalues[first - 1 : last]), 1, w=np.sqrt(1.0 / j))
    return -slope


REFERENCE = {
    'stable rank': (diagnostics.stable_rank, lambda z: np.linalg.norm(z) ** 2 / np.linalg.norm(z, 2) ** 2),
    'nesum': (diagnostics.nesum, lambda z: np.trace(np.cov(z.T)) / np.linalg.eigvalsh(np.cov(z.T))[-1]),
    'covariance, ddof 1': (
        functools.partial(diagnostics.covariance_spectrum, ddof=1),
        lambda z: np.linalg.eigvalsh(np.cov(z.T))[::-1],
    ),
    'alpha': (functools.partial(diagnostics.alpha_req, ranks=(2, 7)), lambda z: numpy_alpha(z, 2, 7)),
    'alpha, cut window': (functools.partial(diagnostics.alpha_req, ranks=(3, 100)), lambda z: numpy_alpha(z, 3, 8)),
    'centred rank': (
        functools.partial(diagnostics.effective_rank, centred=True),
        lambda z: diagnostics.effective_rank(z - z.mean(0)),
    ),
}


@pytest.mark.parametrize('function, reference', REFERENCE.values(), ids=REFERENCE.keys())
def test_reference(function, reference, x64):
    z = cloud() + 3.0
    np.testing.assert_allclose(function(z), reference(z), rtol=FLOAT64)


@pytest.mark.parametrize('alpha', [0.5, 1.0, 2.0])
def test_alpha_of_a_power_law(alpha, x64):
    np.testing.assert_allclose(diagnostics.alpha_req(power_law(alpha)), alpha, rtol=1e-8)


def test_alpha_at_the_limits():
    z = power_law(1.0).astype(np.float32)
    left, sigma, right = np.linalg.svd(z, full_matrices=False)
    cliff = (left[:, :20] * sigma[:20] @ right[:20]).astype(np.float32)
    assert float(diagnostics.alpha_req(cliff)) > 5  # the spectrum ends inside the window
    flat = (left[:, :5] * sigma[:5] @ right[:5]).astype(np.float32)
    assert not float(diagnostics.alpha_req(flat)) < 1.5  # or before it
    assert float(diagnostics.alpha_req(np.zeros((200, 120), np.float32))) == np.inf
    assert abs(float(diagnostics.alpha_req(cloud(20000, 40).astype(np.float32), ranks=(3, 30)))) < 0.1


def test_collapse_and_noise(x64):
    line = np.outer(np.linspace(-1, 1, 64), np.ones(8))
    for rank in (diagnostics.stable_rank, diagnostics.nesum):
        assert abs(float(rank(line)) - 1) < 1e-9
        assert abs(float(rank(np.zeros((64, 8)))) - 1) < 1e-9
        # dim / (1 + √(dim/samples))², the edge of Marchenko and Pastur
        np.testing.assert_allclose(rank(cloud(4000, 100)), 100 / (1 + np.sqrt(100 / 4000)) ** 2, rtol=0.03)
    np.testing.assert_allclose(diagnostics.covariance_spectrum(2.0 * cloud(100000, 3)), 4.0, rtol=0.03)


def numpy_lidar(z, delta=1e-4, eps=1e-8):
    n, q, d = z.shape
    means = z.mean(1)
    within = sum(np.outer(z[i, j] - means[i], z[i, j] - means[i]) for i in range(n) for j in range(q))
    within = within / (n * (q - 1)) + delta * np.eye(d)
    between = sum(np.outer(m - means.mean(0), m - means.mean(0)) for m in means) / (n - 1)
    values, vectors = np.linalg.eigh(within)
    root = vectors / np.sqrt(values) @ vectors.T
    eigenvalues = np.maximum(np.linalg.eigvalsh(root @ between @ root), 0)
    p = eigenvalues / eigenvalues.sum() + eps
    return np.exp(-np.sum(p * np.log(p)))


@pytest.mark.parametrize('shape', [(30, 4, 8), (5, 3, 8), (12, 2, 1)])
def test_lidar_equals_a_loop(shape, x64):
    z = np.random.default_rng(0).normal(size=shape) + 2 * np.random.default_rng(1).normal(size=(shape[0], 1, shape[2]))
    np.testing.assert_allclose(diagnostics.lidar(z), numpy_lidar(z), rtol=1e-8)


def test_lidar_at_the_limits(x64):
    rng = np.random.default_rng(0)
    assert abs(float(diagnostics.lidar(np.ones((20, 3, 6)))) - 1) < 1e-4
    assert abs(float(diagnostics.lidar(rng.normal(size=(4000, 2, 6)))) - 6) < 0.05
    image = np.zeros((500, 1, 6))
    image[:, :, :2] = rng.normal(size=(500, 1, 2))
    assert 1.95 < float(diagnostics.lidar(image + 0.01 * rng.normal(size=(500, 4, 6)))) < 2.1
    # Below √δ everything counts as noise, so LiDAR sees scale.
    small = cloud(500, 6)[:, None] * [1, 1, 1, 0.1, 0.1, 0.1] + 1e-3 * rng.normal(size=(500, 4, 6)) * [1] * 6
    assert float(diagnostics.lidar(small)) != float(diagnostics.lidar(1e-3 * small))


STREAMED = {
    'singular values': diagnostics.singular_values,
    'centred singular values': functools.partial(diagnostics.singular_values, centred=True),
    'covariance': diagnostics.covariance_spectrum,
    'rankme': diagnostics.rankme,
    'effective rank': diagnostics.effective_rank,
    'stable rank': diagnostics.stable_rank,
    'nesum': diagnostics.nesum,
    'alpha': functools.partial(diagnostics.alpha_req, ranks=(2, 8)),
    'deviations': diagnostics.deviations,
    'feature deviation': diagnostics.feature_deviation,
    'correlation': diagnostics.correlation_matrix,
    'feature correlation': diagnostics.feature_correlation,
    'whitening': lambda z: diagnostics.fit_whitening(z).matrix,
}


@pytest.mark.parametrize('function', STREAMED.values(), ids=STREAMED.keys())
@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_streaming_equals_the_batch(function, offset, x64):
    z = cloud(70, 8) * np.arange(1, 9) + offset
    summary = diagnostics.empty_summary(8, dtype=jnp.float64)
    update = diagnostics.update_summary
    for start in range(0, 70, 16):  # the last batch is filled up with what must not count
        rows = z[start : start + 16]
        mask = np.arange(16) < len(rows)
        filled = np.concatenate([rows, np.full((16 - len(rows), 8), np.nan)])
        summary = update(summary, filled, mask=mask)
    np.testing.assert_allclose(function(summary), function(z), rtol=1e-8)
    halves = diagnostics.merge_summaries(diagnostics.summarize(z[:30]), diagnostics.summarize(z[30:]))
    np.testing.assert_allclose(function(halves), function(z), rtol=1e-8)


def test_streaming_in_float32_keeps_a_steep_spectrum():
    left, _ = np.linalg.qr(cloud(256, 16))
    right, _ = np.linalg.qr(cloud(16, 16, 1))
    spectrum = np.logspace(0, -5, 16)
    z = (left * spectrum @ right).astype(np.float32)
    summary = diagnostics.empty_summary(16)
    for batch in np.split(z, 8):
        summary = diagnostics.update_summary(summary, batch)
    np.testing.assert_allclose(diagnostics.singular_values(summary), spectrum, rtol=2e-2)
    np.testing.assert_allclose(diagnostics.rankme(summary), diagnostics.rankme(z), rtol=FLOAT32)


def test_a_summary_of_fewer_rows_than_columns(x64):
    z = cloud(5, 8)
    for function in (diagnostics.rankme, diagnostics.effective_rank, diagnostics.nesum):
        np.testing.assert_allclose(function(diagnostics.summarize(z)), function(z), rtol=FLOAT64)


def test_streamed_lidar_equals_the_batch(x64):
    z = np.random.default_rng(0).normal(size=(30, 3, 6)) + 5.0
    summary = diagnostics.empty_lidar(6, dtype=jnp.float64)
    for part in np.split(z, 5):
        summary = diagnostics.update_lidar(summary, part)
    np.testing.assert_allclose(diagnostics.lidar(summary), diagnostics.lidar(z), rtol=FLOAT64)
    halves = [diagnostics.update_lidar(diagnostics.empty_lidar(6, dtype=jnp.float64), h) for h in (z[:10], z[10:])]
    np.testing.assert_allclose(diagnostics.lidar(diagnostics.merge_lidar(*halves)), diagnostics.lidar(z), rtol=FLOAT64)


BAD = {
    'ranks': (lambda: diagnostics.alpha_req(np.ones((20, 8))), r'ranks=\(11, 100\)'),
    'one row': (lambda: diagnostics.nesum(np.ones((1, 8))), r'two rows, and has shape \[1, 8\]'),
    'one view': (lambda: diagnostics.lidar(np.ones((5, 1, 3))), r'not \[5, 1, 3\]'),
    'one image': (lambda: diagnostics.lidar(np.ones((1, 5, 3))), r'two images, and has shape \[1, 5, 3\]'),
    'width': (lambda: diagnostics.update_summary(diagnostics.empty_summary(4), np.ones((5, 3))), r'\[5, 3\] and \[4\]'),
    'mask': (
        lambda: diagnostics.update_summary(diagnostics.empty_summary(3), np.ones((5, 3)), mask=np.ones(4, bool)),
        r'\[5\].*\[4\]',
    ),
    'merge': (
        lambda: diagnostics.merge_summaries(diagnostics.empty_summary(3), diagnostics.empty_summary(4)),
        r'\[3\] and \[4\]',
    ),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()


SPECTRAL = {
    'rankme': diagnostics.rankme,
    'effective rank': functools.partial(diagnostics.effective_rank, centred=True),
    'stable rank': diagnostics.stable_rank,
    'nesum': diagnostics.nesum,
    'spectrum': lambda z: jnp.sum(diagnostics.covariance_spectrum(z)),
    'alpha': functools.partial(diagnostics.alpha_req, ranks=(1, 6)),
    'blocks': functools.partial(diagnostics.rankme, blocks=2),
    'summary': lambda z: diagnostics.rankme(diagnostics.summarize(z)),
    'lidar': lambda z: diagnostics.lidar(z.reshape(6, 4, 6)),
}


@pytest.mark.parametrize('function', SPECTRAL.values(), ids=SPECTRAL.keys())
def test_gradients_are_right_and_finite_at_constant_columns(function, x64):
    """Against differences of two values; with columns that do not vary, and at full collapse, finite."""
    z, step = cloud(24, 6), 1e-6 * cloud(24, 6, 1)
    gradient = jax.jit(jax.grad(function))
    expected = float(function(z + step) - function(z - step)) / 2
    np.testing.assert_allclose(np.sum(np.asarray(gradient(z)) * step), expected, rtol=1e-5)
    for rows in (np.where(np.arange(6) == 2, 0.7, z), np.where(np.arange(6) == 2, 0, z), np.ones((24, 6)), 0 * z):
        assert np.isfinite(gradient(rows)).all()


def test_token_rank_is_the_number_of_directions_that_hold_a_share_of_the_energy(x64):
    """Energies of 8, 4, 2 and 1 in four directions: shares of 8/15, 12/15, 14/15 and 1."""
    tokens = np.zeros((2, 3, 5))
    tokens.reshape(6, 5)[[0, 2, 3, 5], [0, 1, 2, 4]] = np.sqrt([8.0, 4.0, 2.0, 1.0])
    turn = np.linalg.qr(cloud(5, 5))[0]
    for share, expected in ((0.5, 1), (0.54, 2), (0.8, 2), (0.81, 3), (0.95, 4), (1.0, 4)):
        assert diagnostics.token_rank(tokens @ turn, share=share) == expected, share
    # Of the second image alone: energies of 2 and 1.
    counted = np.array([[False] * 3, [True] * 3])
    assert [int(diagnostics.token_rank(tokens @ turn, counted, share=s)) for s in (0.6, 0.7)] == [1, 2]
    assert diagnostics.token_rank(0 * tokens) == 0
    assert diagnostics.token_rank(jnp.asarray(cloud(60, 7).reshape(6, 10, 7), jnp.float32), share=1.0) == 7


def test_tokens_that_do_not_fit_are_refused(own_checks):
    with pytest.raises(ValueError, match=r'tokens must have shape \[batch, length, dim\], not \[3, 5\]'):
        diagnostics.token_rank(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r'counted must have shape \[2, 3\], not \[2, 4\]'):
        diagnostics.token_rank(np.zeros((2, 3, 5)), np.ones((2, 4), bool))
