"""Differences of analogous words are parallel after contrast where the ratios of their co-occurrence are equal."""

import numpy as np
from scipy.optimize import minimize

from .finding import Finding, lines

PAIRS, MARKERS, TOPICAL, TOPICS, MARKED = 12, 10, 40, 6, 0.3
DIM, NEGATIVES, STEPS = 20, 2.0, 5000
DEVIATIONS = (0, 0.1, 0.3, 1, 3)


def shares(logits: np.ndarray) -> np.ndarray:
    """Softmax over contexts, each row a word."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def contexts(seed: int, deviation: float) -> np.ndarray:
    """P(context | word) `[2 · pairs, contexts]`, the first word of every pair and then the second ones.

    Both words of a pair share a topic; the first MARKERS contexts tell them apart by the same ratios in every pair. To
    the log-ratio of a pair is added `deviation` times Gaussian noise.
    """
    rng = np.random.default_rng(seed)
    relation = rng.normal(size=MARKERS)
    topics = shares(rng.normal(size=(PAIRS, TOPICS)) @ rng.normal(size=(TOPICS, TOPICAL)))
    noise = deviation * rng.normal(size=(PAIRS, MARKERS + TOPICAL))
    found = []
    for sign in (1, -1):
        marked = np.tile(shares(sign * relation[None]), (PAIRS, 1))
        exact = np.concatenate([MARKED * marked, (1 - MARKED) * topics], axis=1)
        found.append(shares(np.log(exact) + sign * noise / 2))
    return np.concatenate(found)


def contrasted(given: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Word vectors `[words, dim]` of least negative-sampling loss, and its excess over that of the PMI in nats.

    The loss is the expectation over pairs and negatives; without a limit on the dimension its minimum has
    vᵀc = PMI − log NEGATIVES.
    """
    joint = given / len(given)
    apart = NEGATIVES * joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    words = len(given)

    def loss(logits: np.ndarray) -> float:
        return float(np.sum(joint * np.logaddexp(0, -logits) + apart * np.logaddexp(0, logits)))

    def loss_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, DIM)
        logits = w[:words] @ w[words:].T
        p = 1.0 / (1.0 + np.exp(-logits))
        slope = apart * p - joint * (1.0 - p)
        return loss(logits), np.concatenate([slope @ w[words:], slope.T @ w[:words]]).ravel()

    start = rng.normal(size=sum(given.shape) * DIM) / np.sqrt(DIM)
    options = {'maxiter': STEPS, 'maxfun': 2 * STEPS, 'ftol': 1e-15, 'gtol': 1e-10}
    found = minimize(loss_and_slope, start, jac=True, method='L-BFGS-B', options=options)
    return found.x.reshape(-1, DIM)[:words], found.fun - loss(np.log(joint / apart))


def factored(given: np.ndarray) -> np.ndarray:
    """Word vectors from the largest singular values of the pointwise mutual information."""
    left, sigma, _ = np.linalg.svd(np.log(given / given.mean(axis=0)), full_matrices=False)
    return left[:, :DIM] * np.sqrt(sigma[:DIM])


def parallel(vectors: np.ndarray, shift: int = 0) -> float:
    """Mean cosine of the differences of two pairs; `shift` pairs a word with the partner of another."""
    difference = vectors[:PAIRS] - np.roll(vectors[PAIRS:], shift, axis=0)
    unit = difference / np.linalg.norm(difference, axis=1, keepdims=True)
    return float((unit @ unit.T)[~np.eye(PAIRS, dtype=bool)].mean())


def measure(seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for deviation in DEVIATIONS:
        given = contexts(seed, deviation)
        learned, found[f'excess_{deviation}'] = contrasted(given, np.random.default_rng(seed + 1000))
        for name, vectors in {'contrast': learned, 'factored': factored(given)}.items():
            found[f'{name}_{deviation}'] = parallel(vectors)
            found[f'{name}_mispaired_{deviation}'] = parallel(vectors, shift=1)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    places = np.arange(len(DEVIATIONS))
    for number, (name, label) in enumerate({'contrast': 'negative sampling', 'factored': 'SVD of PMI'}.items()):
        style = {'color': f'C{number}', 'linestyle': ('-', '--')[number]}
        axis.plot(places, lines(found, f'{name}_', DEVIATIONS), marker='o', label=label, **style)
        wrong = lines(found, f'{name}_mispaired_', DEVIATIONS)
        axis.plot(places, wrong, marker='x', label=f'{label}, wrong partners', **style)
    axis.set_xticks(places, ['0 (exact)', *map(str, DEVIATIONS[1:])])
    axis.set(xlabel='deviation of the log-ratios of a pair', ylabel='mean cosine of two differences', ylim=(0, 1.05))
    axis.legend(fontsize=8)


finding = Finding(
    title='Analogies are parallel where ratios of co-occurrence are equal',
    paper='Ri, Lee & Verma 2023, *Contrastive loss is all you need to recover analogies as parallel lines*, '
    'https://arxiv.org/abs/2306.08221, abstract (its sections were not at hand)',
    claim='A contrastive loss on co-occurrence is enough for differences of analogous words to be parallel, and the '
    'statistics of co-occurrence decide how parallel they are. That the cosine goes to 1 as the ratios that tell the '
    "two words of a pair apart become the same in every pair is a third party's reading of the paper.",
    setup=f'{PAIRS} pairs of words, {MARKERS + TOPICAL} contexts: both words of a pair share a topic, and {MARKERS} '
    'contexts tell the first from the second by the same ratios in every pair; Gaussian noise on the log-ratios makes '
    f'them unequal. Word vectors of {DIM} dimensions from the logistic loss with {NEGATIVES:g} negatives, its '
    f'expectation, minimised by L-BFGS, and from the singular vectors of the pointwise mutual information. The mean '
    'cosine of the differences of two pairs, and of differences between words of neighbouring pairs.',
    measure=measure,
    asserted={
        'at equal ratios the mean cosine is above 0.99, after contrast and after SVD': lambda n: bool(
            min(n['contrast_0'].min(), n['factored_0'].min()) > 0.99
        ),
        'it falls with every deviation, after contrast and after SVD': lambda n: all(
            np.all(np.diff(lines(n, f'{name}_', DEVIATIONS)) < 0) for name in ('contrast', 'factored')
        ),
        'at equal ratios wrong partners are less parallel, after contrast and after SVD': lambda n: all(
            n[f'{name}_mispaired_0'].mean() < n[f'{name}_0'].mean() for name in ('contrast', 'factored')
        ),
    },
    reported='how fast the cosine falls; `excess`, the loss above that of vᵀc = PMI − log 2, in nats. The '
    'optimiser was changed from Adam to L-BFGS after a first trial, which stopped short of the minimum and of parallel '
    'differences; what is asserted was written before it.',
    draw=draw,
)
