"""Cosines of learned item vectors are free where the training objective leaves their scale free."""

import numpy as np

from .finding import Finding

USERS, ITEMS, CLUSTERS, RANK, PENALTY = 1000, 120, 6, 20, 100.0


def interactions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A binary matrix of users and items, and the cluster of each item."""
    rng = np.random.default_rng(seed)
    clusters = np.arange(ITEMS) % CLUSTERS
    taste = rng.integers(0, CLUSTERS, USERS)
    popularity = rng.uniform(0.2, 1.0, ITEMS)
    share = np.where(taste[:, None] == clusters[None], 0.5, 0.05) * popularity[None]
    return (rng.random((USERS, ITEMS)) < share).astype(np.float64), clusters


def within(vectors: np.ndarray, clusters: np.ndarray) -> float:
    """Mean cosine of two different items of one cluster."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    same = (clusters[:, None] == clusters[None]) & ~np.eye(len(clusters), dtype=bool)
    return float((unit @ unit.T)[same].mean())


def measure(seed: int) -> dict[str, float]:
    x, clusters = interactions(seed)
    _, sigma, right = np.linalg.svd(x, full_matrices=False)
    sigma, v = sigma[:RANK], right[:RANK].T
    rng = np.random.default_rng(seed + 1000)
    kept = 1.0 / (1.0 + PENALTY / sigma**2)
    scales = {
        'identity': np.ones(RANK),
        'inverse': kept**-0.5,
        'root': kept**0.5,
        'random': np.exp(3.0 * rng.normal(size=RANK)),
        'first': np.where(np.arange(RANK) == 0, 1e-3, 1.0),
    }
    found: dict[str, float] = {}
    losses = []
    for name, d in scales.items():
        a, b = v * np.sqrt(kept) * d, v * np.sqrt(kept) / d
        losses.append(np.sum((x - x @ a @ b.T) ** 2) + PENALTY * np.sum((a @ b.T) ** 2))
        found[f'cosine_{name}'] = within(b, clusters)
    found['spread_of_loss'] = (max(losses) - min(losses)) / min(losses)
    # The other penalty, lambda (|XA|^2 + |B|^2), has one answer up to a rotation.
    gain = np.sqrt(np.maximum(1.0 - PENALTY**0.5 / sigma, 0.0))
    a, b = v * (gain / np.sqrt(sigma)), v * (gain * np.sqrt(sigma))
    turn = np.linalg.qr(rng.normal(size=(RANK, RANK)))[0]

    def second(a: np.ndarray, b: np.ndarray) -> float:
        penalty = PENALTY**0.5 * (np.sum((x @ a) ** 2) + np.sum(b**2))
        return float(np.sum((x - x @ a @ b.T) ** 2) + penalty)

    found['second_cosine'] = within(b, clusters)
    found['second_cosine_turned'] = within(b @ turn, clusters)
    found['second_turned_loss'] = second(a @ turn, b @ turn) / second(a, b) - 1.0
    d = scales['random']
    found['second_scaled_loss'] = second(a * d, b / d) / second(a, b) - 1.0
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    names = [name for name in found if name.startswith('cosine_')] + ['second_cosine', 'second_cosine_turned']
    axis.bar(range(len(names)), [found[n].mean() for n in names], color=['C0'] * (len(names) - 2) + ['C1'] * 2)
    labels = [n.removeprefix('cosine_').replace('_', ' ') for n in names]
    axis.set_xticks(range(len(names)), labels, rotation=30, ha='right', fontsize=8)
    axis.set(ylabel='mean cosine within a cluster', title='one optimum, five scalings; the other penalty (orange)')


finding = Finding(
    title='A cosine says what the regulariser left it to say',
    paper='Steck et al. 2024, *Is cosine-similarity of embeddings really about similarity?*, '
    'https://arxiv.org/abs/2403.05440, sections 2.1 to 2.3',
    claim='For the penalty on the product ‖ABᵀ‖² every diagonal rescaling (AD, BD⁻¹) is as good a solution, so the '
    'cosines of items are arbitrary; for ‖XA‖² + ‖B‖² they are unique, since only rotations are free.',
    setup=f'{USERS} users and {ITEMS} items of {CLUSTERS} planted clusters, rank {RANK}, both problems solved in '
    f'closed '
    'form; five scalings of the first solution, in float64.',
    measure=measure,
    asserted={
        'five scalings have the same loss to 1e-9': lambda n: n['spread_of_loss'].max() < 1e-9,
        'their mean cosine within a cluster spreads over more than 0.3': lambda n: (
            np.ptp([n[k].mean() for k in n if k.startswith('cosine_')]) > 0.3
        ),
        'with the other penalty a rotation leaves loss and cosines, to 1e-9': lambda n: (
            np.abs(n['second_turned_loss']).max() < 1e-9
            and np.abs(n['second_cosine'] - n['second_cosine_turned']).max() < 1e-9
        ),
        'and a rescaling raises the loss by more than 1 %': lambda n: n['second_scaled_loss'].min() > 0.01,
    },
    reported='which scaling shows the clusters best; none of them is preferred by the loss.',
    draw=draw,
)
