"""Which rows of a training set to keep: by closeness to others of their latent class, evenly, or at random."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import diagnostics
from ..errors import UserError
from .features import even_draw, unit_rows

BLOCK = 1024  # rows of similarities that are held at once


def latent_classes(features: Float[np.ndarray, 'rows dim'], count: int, *, seed: int = 0) -> Int[np.ndarray, ' rows']:
    """k-means of unit rows (k-means++, best inertia of 3) in the place of labels, numbers from 0.

    Raises:
      UserError: more classes than rows, or none.
    """
    if not 1 <= count <= len(features):
        raise UserError(f'{count} latent classes of {len(features)} rows: from 1 to as many as there are rows')
    rows = jnp.asarray(unit_rows(features))
    return np.asarray(diagnostics.kmeans(jax.random.key(seed), rows, clusters=count, restarts=3)[1])


@jax.jit
def _similarities(rows: Array, others: Array) -> Array:
    """Cosines of unit rows, those below 0 as 0."""
    return jnp.maximum(jnp.matmul(rows, others.T, precision=jax.lax.Precision.HIGHEST), 0.0)


def closest(features: Float[np.ndarray, 'rows dim'], count: int, *, greedy: bool = True) -> Int[np.ndarray, ' count']:
    """Numbers of the rows that are most alike the others, in the order in which they are taken.

    Greedy maximisation of F(S) = Σ_{i ∉ S, j ∈ S} s_ij, s the cosine where it is positive: a row's gain is
    Σ_j s_ij − s_ii − 2 Σ_{j ∈ S} s_ij, so that rows like those already taken gain less. Of equal gains the smaller
    number.

    Args:
      features: of one latent class.
      count: how many rows are taken, from 0.
      greedy: False orders rows by Σ_j s_ij alone, which is what the authors' code computes: its second sum is always 0.

    Cost: O(rows²·dim) time, O(rows·dim) memory.

    References:
      Joshi & Mirzasoleiman 2023, https://arxiv.org/abs/2302.09195, eq. 9 and algorithm 1.
    """
    rows = jnp.asarray(unit_rows(features))
    blocks = range(0, len(rows), BLOCK)
    total = np.concatenate([np.asarray(_similarities(rows[at : at + BLOCK], rows).sum(axis=1)) for at in blocks])
    if not greedy:
        return np.argsort(-total, kind='stable')[:count]
    gain = total.astype(np.float64) - np.asarray(jnp.sum(rows * rows, axis=1))
    taken = np.empty(count, np.int64)
    for number in range(count):
        taken[number] = best = int(np.argmax(gain))
        gain -= 2.0 * np.asarray(_similarities(rows, rows[best][None])[:, 0], np.float64)
        gain[taken[: number + 1]] = -np.inf
    return taken


def part(share: float, rows: np.ndarray) -> int:
    """⌊share · rows⌋, at least one."""
    return max(int(share * len(rows)), 1)


def by_class(
    features: np.ndarray, classes: np.ndarray, share: float, *, seed: int = 0, greedy: bool = True
) -> np.ndarray:
    """:func:`closest` rows of each latent class, ⌊share · rows⌋ of each but at least one."""
    kept = []
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        kept.append(members[closest(features[members], part(share, members), greedy=greedy)])
    return np.sort(np.concatenate(kept))


def balanced(features: np.ndarray, classes: np.ndarray, share: float, *, seed: int = 0) -> np.ndarray:
    """As many random rows of each latent class, all of those that have fewer: curation by clusters."""
    return even_draw(classes, part(share, classes), seed=seed)


def random(features: np.ndarray, classes: np.ndarray, share: float, *, seed: int = 0) -> np.ndarray:
    """Random rows, the control."""
    order = np.random.Generator(np.random.Philox(key=[seed, 12])).permutation(len(classes))
    return np.sort(order[: part(share, classes)])


# Name -> (features [n, dim], latent classes [n], share of the rows, seed) -> numbers of rows, ascending.
SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
    'sas': by_class,
    'sas_authors': functools.partial(by_class, greedy=False),
    'balanced': balanced,
    'random': random,
}


def subset(
    features: Float[np.ndarray, 'rows dim'],
    classes: Int[np.ndarray, ' rows'],
    *,
    share: float,
    by: str = 'sas',
    seed: int = 0,
) -> Int[np.ndarray, ' kept']:
    """Numbers of the rows to train on, ascending.

    Args:
      features: of an encoder that was trained on all rows, or of another one (the proxy).
      classes: labels or :func:`latent_classes`.
      share: of the rows, above 0 and at most 1.
      by: a row of :data:`SELECTIONS`.
      seed: of 'balanced' and 'random'.

    Raises:
      UserError: an unknown selection, a share out of range, features that are not finite or do not fit the classes.
    """
    if by not in SELECTIONS:
        raise UserError(f'{by!r} is no selection of rows; known are {", ".join(SELECTIONS)}')
    if not 0 < share <= 1:
        raise UserError(f'a subset is a share above 0 and at most 1 of the rows, not {share:g}')
    if features.ndim != 2 or classes.shape != features.shape[:1] or not len(features):
        raise UserError(f'features {list(features.shape)} and classes {list(classes.shape)} do not match')
    if not np.isfinite(features).all():
        raise UserError('features that rows are chosen by must be finite')
    return SELECTIONS[by](features, classes, share, seed=seed)
