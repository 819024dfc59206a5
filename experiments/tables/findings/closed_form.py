"""The least loss of a linear, or kernel, joint embedding is known beforehand: gradient descent comes down to it."""

import numpy as np
from selfsup import diagnostics
from sklearn.datasets import load_digits

from .finding import Finding

COUNT, DIM, STEPS = 300, 6, 1500


def views(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disturbed views of digits, centred together."""
    rng = np.random.default_rng(seed)
    x = load_digits(return_X_y=True)[0][rng.permutation(1797)[:COUNT]] / 16.0
    pair = [(x + 0.2 * rng.normal(size=x.shape)) * (rng.random(x.shape) < 0.8) for _ in range(2)]
    middle = np.concatenate(pair).mean(axis=0)
    return pair[0] - middle, pair[1] - middle


def spectral_loss(weights: np.ndarray, sigma: np.ndarray, gamma: np.ndarray) -> tuple[float, np.ndarray]:
    """‖WᵀΣW‖² − 2·tr(WᵀΓW), the spectral contrastive loss through second moments, and its slope."""
    covariance = weights.T @ sigma @ weights
    value = np.sum(covariance**2) - 2.0 * np.trace(weights.T @ gamma @ weights)
    return float(value), 4.0 * (sigma @ weights @ covariance - gamma @ weights)


def descended(
    x1: np.ndarray, x2: np.ndarray, rng: np.random.Generator, ridge: float = 1e-6
) -> tuple[float, np.ndarray]:
    """The loss after gradient descent with momentum from a random start, in white coordinates, and the weights."""
    count = len(x1)
    sigma = 0.5 * (x1.T @ x1 + x2.T @ x2) / count
    gamma = 0.5 * (x1.T @ x2 + x2.T @ x1) / count
    values, vectors = np.linalg.eigh(sigma)
    kept = values > ridge * values[-1]
    white = vectors[:, kept] / np.sqrt(values[kept])
    gamma, eye = white.T @ gamma @ white, np.eye(int(kept.sum()))
    weights, speed = 0.1 * rng.normal(size=(len(eye), DIM)), 0.0
    for _ in range(STEPS):
        speed = 0.9 * speed - 0.02 * spectral_loss(weights, eye, gamma)[1]
        weights = weights + speed
    return spectral_loss(weights, eye, gamma)[0], white @ weights


def measure(seed: int) -> dict[str, float]:
    x1, x2 = views(seed)
    rng = np.random.default_rng(seed + 100)
    found: dict[str, float] = {}
    both = np.concatenate([x1, x2])
    norms = np.sum(both**2, axis=1)
    squared = norms[:, None] + norms[None] - 2.0 * both @ both.T
    gram = np.exp(-squared / (2.0 * np.median(squared)))
    coordinates, _ = diagnostics.kernel_coordinates(gram, truncate=1e-3)
    sides = {'linear': (x1, x2), 'kernel': tuple(np.split(np.asarray(coordinates, np.float64), 2))}
    for name, (a, b) in sides.items():
        modes = diagnostics.joint_modes(a, b, truncate=1e-6)
        weights, least = diagnostics.linear_optimum(modes, dim=DIM)
        value, own = descended(a, b, rng)
        rho = diagnostics.canonical_correlations(a @ own, a @ np.asarray(weights, np.float64))
        found |= {
            f'least_{name}': float(least),
            f'descended_{name}': value,
            f'gap_{name}': (value - float(least)) / abs(float(least)),
            f'alike_{name}': float(np.min(np.asarray(rho)[:DIM])),
        }
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    names = ('least_linear', 'descended_linear', 'least_kernel', 'descended_kernel')
    axis.bar(range(4), [found[n].mean() for n in names], yerr=[found[n].std() for n in names], color=['C0', 'C1'] * 2)
    axis.set_xticks(range(4), [n.replace('_', '\n') for n in names])
    axis.set(ylabel='spectral contrastive loss')


finding = Finding(
    title='The optimum of joint embedding is an eigendecomposition',
    paper='HaoChen et al. 2021, https://arxiv.org/abs/2106.04156, section 3; Cabannes et al. 2023, *The SSL '
    'interplay*, '
    'https://arxiv.org/abs/2302.02774, section 2',
    claim='The best linear encoder, or function of a kernel, for the spectral contrastive loss is given by the leading '
    'generalised eigenvectors of the two views, and its loss is −Σλ².',
    setup=f'Two disturbed views of {COUNT} digits; the closed form of `diagnostics.linear_optimum` beside {STEPS} '
    f'steps of '
    f'gradient descent to {DIM} outputs, from pixels and from the coordinates of a Gaussian kernel.',
    measure=measure,
    asserted={
        'gradient descent comes within 0.1 % of the least loss, and not below it (1e-4)': lambda n: all(
            n[f'gap_{k}'].min() > -1e-4 and n[f'gap_{k}'].max() < 1e-3 for k in ('linear', 'kernel')
        ),
        'both span the same outputs (least canonical correlation above 0.99)': lambda n: (
            min(n['alike_linear'].min(), n['alike_kernel'].min()) > 0.99
        ),
        "a kernel's least loss is below the linear one": lambda n: n['least_kernel'].mean() < n['least_linear'].mean(),
    },
    reported='the losses themselves.',
    draw=draw,
)
