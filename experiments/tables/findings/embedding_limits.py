"""How many documents can have every pair of them as the two nearest of some query, by width of the embedding."""

import itertools

import numpy as np

from .finding import Finding

DIMS, STEPS, RATE, TEMPERATURE, MOST, RESTARTS = (2, 3, 4), 2000, 0.03, 0.1, 20, 2


def is_realised(count: int, dim: int, rng: np.random.Generator) -> bool:
    """Whether Adam finds unit documents and queries with every pair of documents as some query's two nearest."""
    pairs = np.array(list(itertools.combinations(range(count), 2)))
    relevant = np.zeros((len(pairs), count))
    relevant[np.arange(len(pairs))[:, None], pairs] = 1.0
    rows = rng.normal(size=(len(pairs) + count, dim))
    mean, square = np.zeros_like(rows), np.zeros_like(rows)
    for step in range(1, STEPS + 1):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = rows / norms
        queries, documents = unit[: len(pairs)], unit[len(pairs) :]
        logits = queries @ documents.T / TEMPERATURE
        if step % 50 == 0:
            worst = np.where(relevant > 0, logits, np.inf).min(axis=1)
            best = np.where(relevant > 0, -np.inf, logits).max(axis=1)
            if np.all(worst > best):
                return True
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        slope = shares / shares.sum(axis=1, keepdims=True) - relevant / 2.0
        gradient = np.concatenate([slope @ documents, slope.T @ queries]) / TEMPERATURE
        gradient = (gradient - unit * np.sum(gradient * unit, axis=1, keepdims=True)) / norms
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rows = rows - RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return False


def measure(seed: int) -> dict[str, float]:
    found = {}
    for dim in DIMS:
        rng = np.random.default_rng([seed, dim])
        largest = 2  # with two documents there is one pair
        while largest < MOST and any(is_realised(largest + 1, dim, rng) for _ in range(RESTARTS)):
            largest += 1
        found[f'documents_{dim}'] = float(largest)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    values = [found[f'documents_{dim}'] for dim in DIMS]
    axis.errorbar(DIMS, [v.mean() for v in values], [v.std() for v in values], fmt='o-')
    axis.set(xlabel='width of the embedding', ylabel='documents with every pair realised', xticks=DIMS)


finding = Finding(
    title='A narrow embedding cannot be asked for every pair',
    paper='Weller et al. 2025, *On the theoretical limitations of embedding-based retrieval*, '
    'https://arxiv.org/abs/2508.21038, section 4',
    claim='Freely optimised vectors of a given width realise every pair of documents as the two nearest of some query '
    'only up to a number of documents, which grows with the width.',
    setup=f'Unit vectors for documents and for a query for each pair, trained by Adam on the cross entropy of the '
    f'pairs '
    f'(temperature {TEMPERATURE}), at most {STEPS} steps, the best of {RESTARTS} starts; the number of documents is '
    f'raised until a start fails, up to {MOST}.',
    measure=measure,
    asserted={
        'the number grows with the width, strictly from 3 to 4': lambda n: (
            n['documents_2'].mean() <= n['documents_3'].mean() < n['documents_4'].mean()
        ),
        'two dimensions realise no more than three documents': lambda n: n['documents_2'].max() == 3,
    },
    reported='the numbers. They are no theorem: from four dimensions on, cyclic polytopes make every pair of any '
    'number '
    'of documents realisable, so what is found is the limit of the optimiser and of its margin.',
    draw=draw,
)
