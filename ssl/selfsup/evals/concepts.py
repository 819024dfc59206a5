"""Whether a class depends on a concept: directional derivatives along the direction that tells the concept's rows."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from ..errors import UserError
from .logistic import logistic_regression, scores
from .sparse_probe import TWO_CLASS_C

RUNS = 20
ROWS = 50  # of the concept, and of others, in a run
DERIVATIVES = 100  # rows of the class


class Directions(NamedTuple):
    """Unit vectors `[runs, dim]` towards the rows of a concept, and their accuracy on held-out rows `[runs]`."""

    vectors: Array
    accuracy: Array


@functools.partial(jax.jit, static_argnames=('held',))
def _fitted(positive: Array, negative: Array, *, held: int) -> Directions:
    rows = positive.shape[1] - held
    labels = jnp.repeat(jnp.array([1, 0]), jnp.array([rows, rows]), total_repeat_length=2 * rows)

    def one(ours: Array, theirs: Array) -> Directions:
        x = jnp.concatenate([ours[:rows], theirs[:rows]])
        model = logistic_regression(x, labels, classes=2, inverse_regularization=TWO_CLASS_C)
        vector = model.kernel[:, 1] - model.kernel[:, 0]
        right = [scores(model, side[rows:]) for side in (ours, theirs)]
        accuracy = (jnp.mean(right[0][:, 1] > right[0][:, 0]) + jnp.mean(right[1][:, 1] <= right[1][:, 0])) / 2
        return Directions(vector / jnp.maximum(jnp.linalg.norm(vector), 1e-30), accuracy)

    return jax.vmap(one)(positive, negative)


def directions(
    concept: Float[np.ndarray, 'rows dim'] | None,
    others: Float[np.ndarray, 'rows dim'],
    *,
    runs: int = RUNS,
    rows: int = ROWS,
    seed: int = 0,
) -> Directions:
    """Concept activation vectors: normals of classifiers of a concept's rows against rows of a pool, one for each run.

    A run draws `rows` of either side without replacement, learns from four fifths of them by logistic regression
    (C = 1, on activations divided by the root mean square of all) and is scored on the rest.

    Args:
      concept: activations at one place, flat; None takes other rows of the pool, a random set against a random set.
      others: the pool, drawn from all images as the paper's random sets.
      runs, rows, seed: number of draws, rows of either side in each, and where the draws begin.

    Raises:
      UserError: too few rows of either side, fewer than 10 rows a run, activations that are not finite.

    References:
      Kim et al. 2018, https://arxiv.org/abs/1711.11279, section 3.2, and 3.4 for random sets.
    """
    least = len(others) // 2 if concept is None else min(len(concept), len(others))
    if rows < 10 or least < rows:
        raise UserError(f'concepts need 10 rows a run or more, and {rows} of either side; there are {least}')
    sides = [side for side in (concept, others) if side is not None]
    if not all(np.isfinite(side).all() for side in sides):
        raise UserError('activations of concepts must be finite')
    size = np.sqrt(np.mean([np.mean(np.square(side), dtype=np.float64) for side in sides]))
    generator = np.random.Generator(np.random.Philox(key=[seed, 11]))

    def run() -> tuple[np.ndarray, np.ndarray]:
        of_pool = generator.permutation(len(others))
        if concept is None:
            return others[of_pool[rows : 2 * rows]], others[of_pool[:rows]]
        return concept[generator.permutation(len(concept))[:rows]], others[of_pool[:rows]]

    drawn = [np.stack(side) / max(size, 1e-30) for side in zip(*(run() for _ in range(runs)), strict=True)]
    return _fitted(*(side.astype(np.float32) for side in drawn), held=rows // 5)


def tcav(gradients: Float[np.ndarray, 'rows dim'], vectors: Float[Array, 'runs dim']) -> Float[Array, ' runs']:
    """Share of rows whose class score rises along each vector: gradient · vector > 0 (eq. 2 of Kim et al.).

    Args:
      gradients: of the score of one class by the activation, one row for each image of the class.
    """
    slopes = jnp.matmul(jnp.asarray(gradients), vectors.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.mean(slopes > 0, axis=0, dtype=slopes.dtype)


def concept_test(ours: Float[np.ndarray, ' runs'], random: Float[np.ndarray, ' runs']) -> float:
    """Welch's two-sided t-test, its p in [0, 1], between the TCAV scores of a concept and those of random sets.

    1 where all scores of both are equal. Of several concepts divide the level by their number (Bonferroni).
    """
    if np.ptp(np.concatenate([ours, random])) == 0:
        return 1.0
    if np.ptp(ours) == np.ptp(random) == 0:
        return 0.0
    sides = [(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (ours, random)]
    return float(stats.ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False).pvalue)
