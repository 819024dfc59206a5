"""Closed forms of joint embedding equal what gradient descent on the losses reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from scipy.optimize import minimize
from selfsup import diagnostics, losses
from tolerances import FLOAT64


def both_orders(n=40, width=5):
    """Two views whose coordinates have correlations between −0.2 and 0.9, mixed, each pair in both orders, centred."""
    rng = np.random.default_rng(0)
    share = np.array([0.9, 0.75, 0.5, 0.2, -0.2])[:width]
    common, first, second = rng.normal(size=(3, n, width))
    # A negative share gives the views opposite signs of what they have in common.
    views = [np.sqrt(abs(share)) * common, np.sign(share) * np.sqrt(abs(share)) * common]
    mix = rng.normal(size=(width, width))
    x1, x2 = ((v + np.sqrt(1 - abs(share)) * e) @ mix for v, e in zip(views, (first, second), strict=True))
    x1, x2 = np.concatenate([x1, x2]), np.concatenate([x2, x1])
    return x1 - x1.mean(0), x2 - x2.mean(0)


def descended(loss, start, steps=400):
    """The least value that quasi-Newton steps from `start` reach, and where."""
    slope = jax.jit(jax.value_and_grad(lambda w: loss(w.reshape(start.shape))))

    def both(w):
        value, gradient = slope(w)
        return float(value), np.asarray(gradient)

    found = minimize(both, start.ravel(), jac=True, method='BFGS', options={'maxiter': steps, 'gtol': 1e-9})
    return found.fun, found.x.reshape(start.shape)


def subspace(w):
    """The projection on the columns that are not zero."""
    q, s, _ = np.linalg.svd(np.asarray(w), full_matrices=False)
    q = q[:, s > 1e-3 * s[0]]
    return q @ q.T


LIMIT = 3e3  # covariance weight at which VICReg's columns are uncorrelated to a thousandth
N = 80
CASES = {
    'spectral': (lambda a, b: losses.spectral_contrastive(a, b, itself=True), 3, 1.0, 1e-7),
    'spectral, more than there are': (lambda a, b: losses.spectral_contrastive(a, b, itself=True), 5, 1.0, 1e-7),
    'whitening': (lambda a, b: losses.w_mse(a, b, normalized=False), 2, (N - 1) / N, 1e-6),
    'vicreg': (lambda a, b: losses.vicreg(a, b, variance_weight=5.0, covariance_weight=LIMIT, eps=0.0), 2, 1.0, 2e-3),
}


@small.each(CASES, quick=('whitening',))
def test_the_optimum_is_what_descent_reaches(name, x64):
    loss, dim, factor, tolerance = CASES[name]
    x1, x2 = (jnp.asarray(x) for x in both_orders())
    modes = diagnostics.joint_modes(x1, x2)
    # VICReg's variance is unbiased: in its units the invariance has the factor, and columns its root.
    unbiased = {'invariance_weight': 25 * (N - 1) / N, 'variance_weight': 5.0} if name == 'vicreg' else {}
    w, expected = diagnostics.linear_optimum(modes, dim=dim, loss=name.split(',')[0], **unbiased)
    w = w * np.sqrt((N - 1) / N) if unbiased else w

    def of(w):
        return loss(jnp.matmul(x1, w, precision='highest'), jnp.matmul(x2, w, precision='highest'))

    np.testing.assert_allclose(of(w), factor * expected, rtol=1e-9)
    reached = [descended(of, np.random.default_rng(seed).normal(size=w.shape) * 0.3) for seed in range(3)]
    value, where = min(reached, key=lambda r: r[0])
    np.testing.assert_allclose(value, factor * expected, rtol=tolerance)
    np.testing.assert_allclose(subspace(where), subspace(w), atol=max(30 * tolerance, 1e-3))


def test_modes_solve_their_equation(x64):
    x1, x2 = both_orders()
    modes = diagnostics.joint_modes(x1, x2)
    sigma, gamma = (x1.T @ x1 + x2.T @ x2) / 2 / N, (x1.T @ x2 + x2.T @ x1) / 2 / N
    v, values = (np.asarray(part) for part in (modes.directions, modes.values))
    np.testing.assert_allclose(v.T @ sigma @ v, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(v.T @ gamma @ v, np.diag(values), atol=1e-10)
    assert (np.diff(values) < 0).all() and values[0] < 1 and values[-1] < 0
    # No mode of an eigenvalue below zero is worth a column of the spectral loss.
    w, least = diagnostics.linear_optimum(modes, dim=5)
    assert np.count_nonzero(np.linalg.norm(w, axis=0)) == np.sum(values > 0)
    np.testing.assert_allclose(least, -np.sum(values[values > 0] ** 2), rtol=FLOAT64)


def test_a_column_of_vicreg_is_as_long_as_it_pays(x64):
    """With the paper's weights of invariance and variance the hinge is met; any other length of a column costs more."""
    x1, x2 = both_orders()
    w, _ = diagnostics.linear_optimum(
        diagnostics.joint_modes(x1, x2), dim=3, loss='vicreg', invariance_weight=25 * (N - 1) / N
    )
    w = np.asarray(w) * np.sqrt((N - 1) / N)
    deviations = (x1 @ w).std(axis=0, ddof=1)
    np.testing.assert_allclose(deviations[0], 1, rtol=1e-9)
    assert deviations[2] < 0.9
    best = float(losses.vicreg(x1 @ w, x2 @ w, eps=0.0))
    for column in range(3):
        for factor in (0.98, 1.02):
            other = w * np.where(np.arange(3) == column, factor, 1.0)
            assert float(losses.vicreg(x1 @ other, x2 @ other, eps=0.0)) > best + 1e-5


def test_a_direction_without_variance_is_no_mode(x64):
    x1, x2 = both_orders()
    flat = [np.concatenate([x, x[:, :1] - x[:, 1:2]], axis=1) for x in (x1, x2)]
    modes = diagnostics.joint_modes(*flat)
    assert modes.directions.shape == (6, 5)
    np.testing.assert_allclose(modes.values, diagnostics.joint_modes(x1, x2).values, rtol=1e-8)


def test_a_kernel_is_solved_in_its_coordinates(x64):
    """Of a Gaussian kernel: descent on the coefficients of the samples reaches no less, and new points have embeddings."""
    x1, x2 = both_orders(8, 2)
    x, n = np.concatenate([x1, x2]), 16
    gram = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1))
    coordinates, mapping = diagnostics.kernel_coordinates(gram)
    np.testing.assert_allclose(coordinates @ coordinates.T, gram, atol=1e-8)
    np.testing.assert_allclose(gram @ mapping, coordinates, atol=1e-4)
    modes = diagnostics.joint_modes(coordinates[:n], coordinates[n:], truncate=1e-9)
    _, expected = diagnostics.linear_optimum(modes, dim=2)

    def of(coefficients):
        z = jnp.matmul(gram, coefficients, precision='highest')
        return losses.spectral_contrastive(z[:n], z[n:], itself=True)

    value, _ = descended(of, np.random.default_rng(1).normal(size=(32, 2)) * 0.1, steps=3000)
    assert expected - 1e-9 < value < expected + 0.02 * abs(expected)


def test_a_linear_kernel_gives_the_linear_optimum(x64):
    x1, x2 = both_orders()
    coordinates, _ = diagnostics.kernel_coordinates(np.concatenate([x1, x2]) @ np.concatenate([x1, x2]).T)
    assert coordinates.shape == (2 * N, 5)
    found = diagnostics.joint_modes(coordinates[:N], coordinates[N:])
    np.testing.assert_allclose(found.values, diagnostics.joint_modes(x1, x2).values, rtol=1e-8)


def test_the_modes_are_no_optimum_of_barlow_twins(x64):
    x1, x2 = both_orders()
    v = np.asarray(diagnostics.joint_modes(x1, x2).directions)[:, [0, 2]]
    turned = v @ np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    straight, other = (float(losses.barlow_twins(x1 @ w, x2 @ w)) for w in (v, turned))
    assert other < straight


BAD = {
    'pairs': (lambda: diagnostics.joint_modes(np.ones((4, 3)), np.ones((4, 2))), r'x1 and x2 must have the same shape'),
    'zero': (lambda: diagnostics.joint_modes(np.zeros((4, 3)), np.zeros((4, 3))), 'zero throughout'),
    'loss': (lambda: diagnostics.linear_optimum(diagnostics.joint_modes(*both_orders()), dim=2, loss='simclr'), 'simclr'),
    'dim': (
        lambda: diagnostics.linear_optimum(diagnostics.joint_modes(*both_orders()), dim=6, loss='whitening'),
        'dim=6 is more than the 5 modes',
    ),
    'gram': (lambda: diagnostics.kernel_coordinates(np.ones((4, 3))), r'square, and has shape \[4, 3\]'),
    'no kernel': (lambda: diagnostics.kernel_coordinates(-np.eye(4)), 'no positive eigenvalue'),
}  # fmt: skip


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD)
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()
