"""Contrast-consistent search finds the most prominent feature that negation flips, whatever it means."""

import numpy as np

from .finding import Finding, lines

COUNT, DIM, NOISE, RESTARTS, STEPS, RATE = 400, 20, 0.3, 6, 400, 0.05
STRENGTHS = (0, 0.5, 1, 2, 4)


def search(plus: np.ndarray, minus: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The probe of least CCS loss over restarts, by Adam: weights and bias `[dim + 1]`."""
    x = np.stack([np.concatenate([side, np.ones((len(side), 1))], axis=1) for side in (plus, minus)])
    w = rng.normal(size=(RESTARTS, x.shape[2])) / np.sqrt(x.shape[2])
    mean, square = np.zeros_like(w), np.zeros_like(w)

    def loss_and_slope(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q = (1.0 / (1.0 + np.exp(-side @ w.T)) for side in x)  # [samples, restarts]
        consistency, least = p + q - 1.0, np.minimum(p, q)
        dp = 2 * consistency + 2 * least * (p <= q)
        dq = 2 * consistency + 2 * least * (p > q)
        slope = ((dp * p * (1 - p)).T @ x[0] + (dq * q * (1 - q)).T @ x[1]) / len(plus)
        return (consistency**2 + least**2).mean(axis=0), slope

    for step in range(1, STEPS + 1):
        _, slope = loss_and_slope(w)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        w = w - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return w[int(np.argmin(loss_and_slope(w)[0]))]


def agreement(w: np.ndarray, plus: np.ndarray, minus: np.ndarray, sides: np.ndarray) -> float:
    """Share of pairs on which the probe agrees with a sign, up to its own sign."""
    scores = (plus - minus) @ w[:-1]
    hits = float(np.mean((scores > 0) == (sides > 0)))
    return max(hits, 1 - hits)


def measure(seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for strength in STRENGTHS:
        rng = np.random.default_rng(seed)
        truth, other = rng.choice([-1.0, 1.0], size=(2, COUNT))
        axes = np.linalg.qr(rng.normal(size=(DIM, 2)))[0].T
        moved = truth[:, None] * axes[0] + strength * other[:, None] * axes[1]
        plus, minus = (sign * moved + NOISE * rng.normal(size=(COUNT, DIM)) for sign in (1, -1))
        plus, minus = (side - side.mean(axis=0) for side in (plus, minus))
        w = search(plus, minus, rng)
        found[f'truth_{strength}'] = agreement(w, plus, minus, truth)
        found[f'distractor_{strength}'] = agreement(w, plus, minus, other)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    for name in ('truth', 'distractor'):
        axis.plot(STRENGTHS, 100 * lines(found, f'{name}_', STRENGTHS), 'o-', label=name)
    axis.set(xlabel='strength of the distractor (truth: 1)', ylabel='agreement, per cent')
    axis.legend()


finding = Finding(
    title='Contrast-consistent search finds the most prominent feature',
    paper='Farquhar et al. 2023, *Challenges with unsupervised LLM knowledge discovery*, '
    'https://arxiv.org/abs/2312.10029',
    claim='A loss that asks for consistency under negation alone is met by any feature that negation flips, so the '
    'search returns the most prominent one and not what is true.',
    setup=f'{COUNT} pairs in {DIM} dimensions that differ by the sign of a planted truth of strength 1 and of a '
    f'planted '
    f'distractor; CCS by Adam, {STEPS} steps, the best of {RESTARTS} restarts, both sides centred as in the method.',
    measure=measure,
    asserted={
        'without a distractor the truth is found (above 95 %)': lambda n: n['truth_0'].mean() > 0.95,
        'a distractor four times as strong is found instead (above 95 %, the truth below 70 %)': lambda n: (
            n['distractor_4'].mean() > 0.95 and n['truth_4'].mean() < 0.7
        ),
    },
    reported='where the two cross.',
    draw=draw,
)
