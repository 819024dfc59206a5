"""Linear Barlow Twins learns the eigenvectors of its cross-correlation one by one, at times known beforehand."""

import numpy as np
from sklearn.datasets import load_digits

from .finding import Finding

WIDTH, START, MODES, STEP = 12, 1e-5, 8, 0.004


def correlation(seed: int) -> np.ndarray:
    """Γ of two views of digits: pixels hidden and disturbed at random."""
    rng = np.random.default_rng(seed)
    x = np.asarray(load_digits(return_X_y=True)[0]) / 16.0
    x = x - x.mean(axis=0)
    views = [(x + 0.1 * rng.normal(size=x.shape)) * (rng.random(x.shape) < 0.8) for _ in range(2)]
    gamma = views[0].T @ views[1] / len(x)
    return 0.5 * (gamma + gamma.T)


def half_times(gamma: np.ndarray, weights: np.ndarray, steps: int) -> np.ndarray:
    """When each of the largest eigenvalues of WΓWᵀ passes ½, in units of gradient flow of ‖WΓWᵀ − 1‖²."""
    rate = STEP / np.linalg.eigvalsh(gamma)[-1]
    times, eye = np.full(MODES, np.nan), np.eye(WIDTH)
    for step in range(steps):
        carried = weights @ gamma
        c = carried @ weights.T
        if step % 4 == 0:
            passed = np.sum(np.linalg.eigvalsh(c) > 0.5)
            times[: min(passed, MODES)] = np.where(
                np.isnan(times[: min(passed, MODES)]), step * rate, times[: min(passed, MODES)]
            )
            if passed >= MODES:
                break
        weights = weights - rate * 4.0 * (c - eye) @ carried
    return times


def measure(seed: int) -> dict[str, float]:
    gamma = correlation(seed)
    values, vectors = np.linalg.eigh(gamma)
    values, vectors = values[::-1], vectors[:, ::-1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)))[0]
    aligned = START * turn @ vectors[:, :WIDTH].T
    # γs² follows a logistic curve of rate 8γ from γs₀², and is ½ where e^{8γt} = 1 / γs₀² − 1.
    expected = np.log(1.0 / (values[:MODES] * START**2) - 1.0) / (8.0 * values[:MODES])
    steps = int(1.5 * expected[-1] * values[0] / STEP)
    found = half_times(gamma, aligned, steps)
    random = START * np.random.default_rng(seed + 1).normal(size=(WIDTH, len(gamma))) / np.sqrt(len(gamma) / WIDTH)
    free = half_times(gamma, random, steps)
    numbers = {f'expected_{j + 1}': t for j, t in enumerate(expected)}
    numbers |= {f'aligned_{j + 1}': t for j, t in enumerate(found)}
    numbers |= {f'random_{j + 1}': t for j, t in enumerate(free)}
    return numbers


def _times(found: dict[str, np.ndarray], kind: str) -> np.ndarray:
    return np.stack([found[f'{kind}_{j + 1}'] for j in range(MODES)])


def draw(found: dict[str, np.ndarray], axis) -> None:
    expected = _times(found, 'expected').mean(axis=1)
    axis.plot(expected, expected, color='0.6', label='expected')
    axis.plot(expected, _times(found, 'aligned').mean(axis=1), 'o', label='aligned start')
    axis.plot(expected, _times(found, 'random').mean(axis=1), 'x', label='random start')
    axis.set(xlabel='expected half-time of a mode', ylabel='half-time found')
    axis.legend()


finding = Finding(
    title='Joint embedding is learned in steps',
    paper='Simon et al. 2023, *On the stepwise nature of self-supervised learning*, https://arxiv.org/abs/2303.15438, '
    'section 4',
    claim='From a small start linear Barlow Twins learns the top eigenmodes of the cross-correlation Γ of two views '
    'one '
    'by one, mode j at −log(γⱼs₀²)/(8γⱼ); a random start behaves as an aligned one.',
    setup=f'Γ of two disturbed views of the 1,797 digits (64 pixels), loss ‖WΓWᵀ − 1‖² with {WIDTH} outputs, '
    f'full-batch '
    f'gradient descent in float64 from a start of scale {START:g}, its step 0.004 of the largest 1/γ; the half-time is '
    'when the next eigenvalue of WΓWᵀ passes ½.',
    measure=measure,
    asserted={
        'from an aligned start the first eight half-times are within 5 % of the formula': lambda n: bool(
            np.all(np.abs(_times(n, 'aligned') / _times(n, 'expected') - 1) < 0.05)
        ),
        'and come in the order of the eigenvalues': lambda n: bool(np.all(np.diff(_times(n, 'aligned'), axis=0) > 0)),
    },
    reported='the half-times from a random start of the same scale.',
    draw=draw,
)
