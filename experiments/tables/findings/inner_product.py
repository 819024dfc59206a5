"""Independent concepts are orthogonal in the whitened inner product, and not in the one that training left."""

import numpy as np
from selfsup import diagnostics

from .finding import Finding, bars

CONCEPTS, DIM, SAMPLES, NOISE = 6, 32, 20_000, 0.05


def mean_cosine(directions: np.ndarray) -> float:
    """Mean |cos| over pairs of different rows."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return float(np.abs((unit @ unit.T)[~np.eye(len(unit), dtype=bool)]).mean())


def measure(seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(SAMPLES, CONCEPTS))
    # Every concept also moves along a few common axes of large scale: an anisotropic cloud.
    mixing = rng.normal(size=(CONCEPTS, DIM)) * np.geomspace(4.0, 0.25, DIM)[None]
    rows = signs @ mixing + NOISE * rng.normal(size=(SAMPLES, DIM))
    directions = np.stack([rows[s > 0].mean(axis=0) - rows[s < 0].mean(axis=0) for s in signs.T])
    whitening = diagnostics.fit_whitening(rows, kind='zca', shrinkage=1e-6)
    white = np.asarray(diagnostics.whiten(whitening, rows))
    moved = np.stack([white[s > 0].mean(axis=0) - white[s < 0].mean(axis=0) for s in signs.T])
    tied = np.where(rng.random(SAMPLES) < 0.8, signs[:, 0], -signs[:, 0])  # a concept that depends on the first
    own = white[tied > 0].mean(axis=0) - white[tied < 0].mean(axis=0)
    return {
        'euclidean': mean_cosine(directions),
        'whitened': mean_cosine(moved),
        'whitened_dependent_pair': mean_cosine(np.stack([moved[0], own])),
        'random_directions': mean_cosine(rng.normal(size=(CONCEPTS, DIM))),
    }


def draw(found: dict[str, np.ndarray], axis) -> None:
    bars(axis, [*found.values()])
    axis.set_xticks(range(len(found)), [n.replace('_', ' ') for n in found], rotation=20, ha='right')
    axis.set(ylabel='mean |cos| of concept directions')


finding = Finding(
    title='Independent concepts are orthogonal after whitening',
    paper='Park et al. 2024, *The linear representation hypothesis and the geometry of large language models*, '
    'https://arxiv.org/abs/2311.03658, section 4',
    claim='Concepts that vary independently are orthogonal in the inner product of the inverse covariance, and need '
    'not '
    'be in the Euclidean one.',
    setup=f'{CONCEPTS} independent signs mixed into {DIM} dimensions of falling scale, {SAMPLES} samples; the '
    f'direction '
    'of a concept is the difference of the means of its two sides.',
    measure=measure,
    asserted={
        'Euclidean directions have a mean |cos| above 0.2': lambda n: n['euclidean'].mean() > 0.2,
        'whitened ones below 0.05': lambda n: n['whitened'].max() < 0.05,
    },
    reported='a pair of concepts that depend on each other keeps its cosine after whitening (0.8 of the samples '
    'agree), '
    'so what is orthogonal there is independent, and not everything; random directions of that many dimensions for '
    'scale.',
    draw=draw,
)
