"""Per-dimension spread, redundancy and tolerance against NumPy and closed forms."""

import numpy as np
import pytest
from selfsup import diagnostics
from tolerances import FLOAT64


def cloud(n=64, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def loop_tolerance(z, labels):
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j and labels[i] == labels[j]]
    return np.mean([u[i] @ u[j] for i, j in pairs])


LABELS = np.random.default_rng(2).integers(0, 5, size=64)
REFERENCE = {
    'deviations': (diagnostics.deviations, lambda z: z.std(0)),
    'deviations, ddof 1': (lambda z: diagnostics.deviations(z, ddof=1), lambda z: z.std(0, ddof=1)),
    'deviations, normalized': (
        lambda z: diagnostics.deviations(z, normalized=True),
        lambda z: (z / np.linalg.norm(z, axis=1, keepdims=True)).std(0) * np.sqrt(8),
    ),
    'correlation': (diagnostics.correlation_matrix, lambda z: np.corrcoef(z.T)),
    'feature correlation': (
        diagnostics.feature_correlation,
        lambda z: np.abs(np.corrcoef(z.T))[~np.eye(8, dtype=bool)].mean(),
    ),
    'tolerance': (lambda z: diagnostics.tolerance(z, LABELS), lambda z: loop_tolerance(z, LABELS)),
}


@pytest.mark.parametrize('function, reference', REFERENCE.values(), ids=REFERENCE.keys())
def test_reference(function, reference, x64):
    z = cloud() @ cloud(8, 8, 1) + 0.5
    np.testing.assert_allclose(function(z), reference(z), rtol=FLOAT64)


LIMITS = {
    'correlation on a line': (lambda: diagnostics.feature_correlation(np.outer(cloud(64, 1), [1.0, -2, 3])), 1.0, 1e-6),
    'correlation at collapse': (lambda: diagnostics.feature_correlation(np.zeros((8, 4))), 0.0, 0),
    # √(2 / (π·samples))
    'correlation of noise': (lambda: diagnostics.feature_correlation(cloud(1000, 50)), np.sqrt(2 / np.pi / 1000), 2e-3),
    'tolerance at collapse': (lambda: diagnostics.tolerance(np.ones((64, 4)), LABELS), 1.0, 1e-6),
    'tolerance of noise': (lambda: diagnostics.tolerance(cloud(2000, 64), np.arange(2000) % 4), 0.0, 2e-3),
    'tolerance without pairs': (lambda: diagnostics.tolerance(cloud(4, 3), np.arange(4)), 1.0, 0),
    'deviation of a constant': (lambda: diagnostics.deviations(np.zeros((8, 4)) + 1).max(), 0.0, 0),
}


@pytest.mark.parametrize('call, value, tolerance', LIMITS.values(), ids=LIMITS.keys())
def test_limits(call, value, tolerance):
    assert abs(float(call()) - value) <= tolerance


@pytest.mark.parametrize('value', [0.0, 0.7, -1e6])
def test_a_constant_dimension_correlates_with_nothing(value):
    """Rounding of its mean, 0.7 of 24 rows for one, is no variation."""
    z = cloud(24, 3).astype(np.float32)
    z[:, 1] = value
    for given in (z, diagnostics.summarize(z)):
        correlation = np.asarray(diagnostics.correlation_matrix(given))
        assert (correlation[1] == 0).all() and (correlation[:, 1] == 0).all() and np.isfinite(correlation).all()
        np.testing.assert_allclose(correlation[0, 2], np.corrcoef(z[:, 0], z[:, 2])[0, 1], atol=1e-6)


def test_norms_do_not_overflow():
    z = cloud(20, 8).astype(np.float32)
    for scale in (1e25, 1e-10):
        np.testing.assert_allclose(diagnostics.uniformity(z * np.float32(scale)), diagnostics.uniformity(z), rtol=1e-5)


BAD = {
    'labels': (lambda: diagnostics.tolerance(np.ones((4, 3)), np.zeros(5, int)), r'\[4\].*not \[5\]'),
    'range': (lambda: diagnostics.tolerance(np.ones((2, 3)), np.array([0, 3]), classes=3), r'\[0, 3\).* 0 to 3'),
    'negative': (lambda: diagnostics.tolerance(np.ones((2, 3)), np.array([0, -1])), r'-1 to 0'),
    'float labels': (lambda: diagnostics.tolerance(np.ones((2, 3)), np.zeros(2)), 'integers'),
    'one dimension': (lambda: diagnostics.feature_correlation(np.ones((4, 1))), 'two dimensions'),
    'summary': (lambda: diagnostics.deviations(diagnostics.empty_summary(3), normalized=True), 'needs the rows'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
