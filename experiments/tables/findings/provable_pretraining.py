"""Factors learned from inputs alone make few labels enough."""

import numpy as np

from .finding import Finding, lines

FACTORS, DIM, NOISE, TESTS = 5, 100, 0.5, 4000
LABELS, PRETRAINING = (20, 50, 120, 500), (50, 1000)


def draw_set(rng: np.random.Generator, count: int, mixing: np.ndarray, weights: np.ndarray) -> tuple:
    factors = rng.normal(size=(count, FACTORS))
    rows = factors @ mixing + rng.normal(size=(count, DIM))
    return rows, factors @ weights + NOISE * rng.normal(size=count)


def measure(seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(FACTORS, DIM)) / 2.0
    weights = rng.normal(size=FACTORS)
    weights /= np.linalg.norm(weights)
    x_test, y_test = draw_set(rng, TESTS, mixing, weights)
    found: dict[str, float] = {}
    directions = {}
    for m in PRETRAINING:
        rows, _ = draw_set(rng, m, mixing, weights)
        directions[m] = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:FACTORS]
    for n in LABELS:
        x, y = draw_set(rng, n, mixing, weights)

        def error(train: np.ndarray, test: np.ndarray, y: np.ndarray = y) -> float:
            fit = np.linalg.lstsq(train, y, rcond=None)[0]  # the shortest solution where there are many
            return float(np.mean((test @ fit - y_test) ** 2))

        found[f'scratch_{n}'] = error(x, x_test)
        for m, v in directions.items():
            found[f'pretrained_{m}_{n}'] = error(x @ v.T, x_test @ v.T)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    axis.plot(LABELS, lines(found, 'scratch_', LABELS), 'o-', label='from scratch')
    for m in PRETRAINING:
        axis.plot(LABELS, lines(found, f'pretrained_{m}_', LABELS), 's--', label=f'{m} inputs without labels first')
    axis.axhline(NOISE**2, color='0.6', linestyle=':', label='noise of the labels')
    axis.set(xscale='log', yscale='log', xlabel='labels', ylabel='squared error on test')
    axis.set_xticks(LABELS, map(str, LABELS))
    axis.set_xticks([], minor=True)
    axis.legend()


finding = Finding(
    title='Pre-training on inputs alone makes few labels enough',
    paper='Ge et al. 2023, *On the provable advantage of unsupervised pretraining*, https://arxiv.org/abs/2303.01566, '
    'section 4 (factor models)',
    claim='Where a few factors make inputs and label, the error after pre-training falls with the number of factors '
    'over '
    'labels, that from scratch with the dimension over labels; more unlabelled inputs help further.',
    setup=f'{FACTORS} factors in {DIM} dimensions; pre-training takes the first {FACTORS} principal directions of m '
    'inputs, then least squares; from scratch least squares on the inputs, the shortest solution where it is not '
    'unique.',
    measure=measure,
    asserted={
        'pre-trained on 1,000 inputs is better than from scratch for every number of labels': lambda n: all(
            n[f'pretrained_1000_{k}'].mean() < n[f'scratch_{k}'].mean() for k in LABELS
        ),
        'the error from scratch peaks where labels are about as many as dimensions (120)': lambda n: (
            n['scratch_120'].mean() > max(n[f'scratch_{k}'].mean() for k in LABELS if k != 120)
        ),
        '50 inputs without labels are worse than 1,000 for every number of labels': lambda n: all(
            n[f'pretrained_50_{k}'].mean() > n[f'pretrained_1000_{k}'].mean() for k in LABELS
        ),
    },
    reported='how near pre-training comes to the noise of the labels (0.25).',
    draw=draw,
)
