"""Few-shot episodes: a new classifier from a handful of labels, many times over."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array
from scipy import stats

from ..diagnostics import pairwise_distances
from ..errors import UserError
from ..losses import transport
from .features import Features, check_both, spread, unit_rows
from .logistic import logistic_regression, scores

CLASSIFIERS = ('logistic', 'centre', 'cosine', 'transport')


@functools.partial(jax.jit, static_argnames=('ways', 'classifier'))
def _accuracies(support: Array, query: Array, c: Array, *, ways: int, classifier: str) -> Array:
    """Accuracy of each episode: `support [episodes, ways, shots, dim]`, `query [episodes, ways, queries, dim]`."""
    truth = jnp.repeat(jnp.arange(ways), query.shape[2])

    def episode(rows: Array, test_rows: Array) -> Array:
        test_rows = test_rows.reshape(-1, test_rows.shape[-1])
        if classifier == 'logistic':
            labels = jnp.repeat(jnp.arange(ways), rows.shape[1])
            flat = rows.reshape(-1, rows.shape[-1])
            score = scores(logistic_regression(flat, labels, classes=ways, inverse_regularization=c), test_rows)
        else:
            centres = jnp.mean(rows, axis=1)
            if classifier == 'transport':
                centres = transported(centres, test_rows)
            product = jnp.matmul(test_rows, centres.T, precision=jax.lax.Precision.HIGHEST)
            if classifier in ('centre', 'transport'):
                score = 2.0 * product - jnp.sum(centres**2, axis=1)[None]
            else:
                score = product / jnp.maximum(jnp.linalg.norm(centres, axis=1), 1e-12)[None]
        return jnp.mean(jnp.argmax(score, axis=1) == truth)

    return jax.vmap(episode)(support, query)


def transported(centres: Array, queries: Array, *, epsilon: float = 0.05) -> Array:
    """Centres `[ways, dim]` moved to the queries `[n, dim]` that entropic optimal transport assigns them (OpTA).

    Each centre becomes the mean of the queries under its row of the plan, whose cost is the squared distance over its
    largest, with equal shares for all centres and for all queries: the classes of the queries are taken to be balanced.

    Convention: one pass, ε = 0.05 as the authors' code has it; it then fits a logistic regression to the moved centres.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444 (BECLR, OpTA).
    """
    cost = pairwise_distances(centres, queries, metric='squared')
    plan = transport(-cost / jnp.maximum(jnp.max(cost), 1e-12), epsilon=epsilon)
    shares = plan / jnp.sum(plan, axis=1, keepdims=True)
    return jnp.matmul(shares, queries, precision=jax.lax.Precision.HIGHEST)


def draw_episodes(
    train: np.ndarray, test: np.ndarray, *, ways: int, shots: int, queries: int, episodes: int, seed: int, same: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of support rows of train and query rows of test, `[episodes, ways, shots]` and `[…, queries]`.

    With `same`, both come from one set and no row is support and query of one episode.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, 3]))
    pool = {c: (np.flatnonzero(train == c), np.flatnonzero(test == c)) for c in np.intersect1d(train, test)}
    needed = shots + queries * same
    pool = {c: rows for c, rows in pool.items() if len(rows[0]) >= needed and len(rows[1]) >= queries}
    if len(pool) < ways:
        raise UserError(
            f'{ways}-way episodes of {shots} labels and {queries} queries need {ways} classes with so many samples; '
            f'{len(pool)} have them'
        )
    names = np.array(sorted(pool))

    def some(rows: np.ndarray, count: int) -> np.ndarray:
        return rows[np.argsort(generator.random(len(rows)), kind='stable')[:count]]

    support, query = [], []
    for _ in range(episodes):
        for c in some(names, ways):
            ours, theirs = pool[c]
            mixed = some(ours, needed)
            support.append(mixed[:shots])
            query.append(mixed[shots:] if same else some(theirs, queries))
    shape = (episodes, ways, -1)
    return np.reshape(support, shape), np.reshape(query, shape)


def few_shot(
    train: Features,
    test: Features,
    *,
    ways: int = 5,
    shots: tuple[int, ...] = (1, 5),
    queries: int = 15,
    episodes: int = 600,
    classifier: str = 'logistic',
    inverse_regularization: float = 1.0,
    seed: int = 0,
    chunk: int = 100,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Accuracy over episodes: `ways` random classes, `shots` labels of each, `queries` queries of each.

    Rows are scaled to unit length and not standardised, as in the paper.

    Args:
      train, test: labels come from train and questions from test. For classes that the encoder has never
        seen, give their features as both; no row is then both in one episode.
      ways, shots, queries, episodes: sizes. Paper: 5, (1, 5), 15, 600.
      classifier: 'logistic', with C = `inverse_regularization`, unpenalised intercept; 'centre', the
        nearest mean in Euclidean distance; 'cosine', the mean of largest cosine; 'transport', the nearest mean after
        all queries of an episode together moved the means (:func:`transported`).
      seed: of the draws: the same episodes for every encoder.
      chunk: episodes at a time.
      mesh: episodes are spread over it.

    Returns:
      For each number of shots `few_shot_<shots>`, the mean, and `few_shot_<shots>_ci`, half the width of
      its 95 % t-interval.

    References:
      Tian et al. 2020, https://arxiv.org/abs/2003.11539.
    """
    train, test, _ = check_both(train, test, classes=ways)
    if classifier not in CLASSIFIERS:
        raise UserError(f'classifier must be one of {", ".join(CLASSIFIERS)}, not {classifier!r}')
    if episodes < 2:
        raise UserError(f'a confidence interval needs at least two episodes, not {episodes}')
    x, x_test = unit_rows(train.features), unit_rows(test.features)
    results = {}
    for count in shots:
        drawn = draw_episodes(
            train.labels, test.labels, ways=ways, shots=count, queries=queries, episodes=episodes, seed=seed,
            same=train is test,
        )  # fmt: skip
        found = []
        for start in range(0, episodes, chunk):
            rows, test_rows = (index[start : start + chunk] for index in drawn)
            kept = len(rows)
            rows, test_rows = (
                np.concatenate([r, r[:1].repeat(min(chunk, episodes) - kept, axis=0)]) for r in (rows, test_rows)
            )
            support, query, _ = spread(mesh, x[rows], x_test[test_rows])
            c = jnp.float32(inverse_regularization)
            found.append(np.asarray(_accuracies(support, query, c, ways=ways, classifier=classifier))[:kept])
        hits = np.concatenate(found)
        width = stats.t.ppf(0.975, episodes - 1) * hits.std(ddof=1) / np.sqrt(episodes)
        results[f'few_shot_{count}'], results[f'few_shot_{count}_ci'] = float(hits.mean()), float(width)
    return results
