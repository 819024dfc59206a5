"""Which rows of a training set to keep: by closeness to others of their latent class, evenly, by score, at random."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import diagnostics
from ..errors import UserError
from .features import even_draw, unit_rows

BLOCK = 1024  # rows of similarities that are held at once
RESAMPLINGS = 3  # of each level of a tree of clusters


def latent_classes(features: Float[np.ndarray, 'rows dim'], count: int, *, seed: int = 0) -> Int[np.ndarray, ' rows']:
    """k-means of unit rows (k-means++, best inertia of 3) in the place of labels, numbers from 0.

    Raises:
      UserError: more classes than rows, or none.
    """
    if not 1 <= count <= len(features):
        raise UserError(f'{count} latent classes of {len(features)} rows: from 1 to as many as there are rows')
    rows = jnp.asarray(unit_rows(features))
    return np.asarray(diagnostics.kmeans(jax.random.key(seed), rows, clusters=count, restarts=3)[1])


def latent_tree(
    features: Float[np.ndarray, 'rows dim'],
    counts: Sequence[int],
    *,
    seed: int = 0,
    resamplings: int = RESAMPLINGS,
) -> Int[np.ndarray, 'rows levels']:
    """Clusters of unit rows, clusters of their centres, and so on: hierarchical k-means with resampling.

    k-means puts more centres where rows are dense. After each k-means the rows nearest to each centre, as many of each
    cluster, are clustered in their place, which brings the centres nearer to a uniform spread over what there is.

    Args:
      features: of the rows.
      counts: clusters of each level, descending, the first no more than rows.
      seed: of k-means (k-means++, the best of 3 starts).
      resamplings: of each level, with half of the mean cluster's size from each; 0 is plain k-means. Authors: 10, with
        sizes of their own for each level.

    Returns:
      The cluster of each row in each level, the finest first; numbers from 0, without gaps.

    Raises:
      UserError: counts that do not descend, or are more than the rows.

    References:
      Vo et al. 2024, https://arxiv.org/abs/2405.15613, section 3.2 and 3.3; authors' code
      facebookresearch/ssl-data-curation, commit 7a48ee3.
    """
    if not counts or counts[-1] < 1 or counts[0] > len(features) or list(counts) != sorted({*counts}, reverse=True):
        raise UserError(
            f'levels of latent classes must descend from at most the {len(features)} rows to at least 1, not '
            f'{", ".join(map(str, counts))}'
        )
    points, path, levels = unit_rows(features), np.arange(len(features)), []
    fit = functools.partial(diagnostics.kmeans, restarts=3)
    for level, count in enumerate(counts):
        count = min(count, len(points))  # a level may have had fewer clusters with rows than it was asked for
        key = jax.random.fold_in(jax.random.key(seed), level)
        centres, members = (np.asarray(part) for part in fit(jax.random.fold_in(key, 0), points, clusters=count))
        size = len(points) // (2 * count)
        for number in range(resamplings if size > 1 else 0):
            distance = np.linalg.norm(points - centres[members], axis=1)
            order = np.lexsort((distance, members))
            place = np.arange(len(points)) - np.searchsorted(members[order], members[order])
            nearest = np.sort(order[place < size])
            if len(nearest) < count:
                break
            again = jax.random.fold_in(key, number + 1)
            centres = np.asarray(fit(again, points[nearest], clusters=count)[0])
            members = np.asarray(diagnostics.nearest(points, centres, k=1)[1])[:, 0]
        used, members = np.unique(members, return_inverse=True)
        points, path = centres[used], members[path]
        levels.append(path)
    return np.stack(levels, axis=1)


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


def check_share(share: float) -> None:
    """Refuses a share of the rows that is none."""
    if not 0 < share <= 1:
        raise UserError(f'a subset is a share above 0 and at most 1 of the rows, not {share:g}')


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


def evenly(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """How many are taken of each group: as many of each, all of smaller ones; what is left over goes to random ones."""
    low, high = 0, int(sizes.max())
    while low < high:  # the largest cut that does not take too many
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= count else (low, middle - 1)
    taken = np.minimum(sizes, low)
    larger = np.flatnonzero(sizes > low)
    taken[generator.permutation(larger)[: count - taken.sum()]] += 1
    return taken


def hierarchical(features: np.ndarray, classes: np.ndarray, share: float, *, seed: int = 0) -> np.ndarray:
    """As many rows of each cluster of the coarsest level, within it of each of the next, and random ones in the finest.

    Args:
      features: not read.
      classes: `[rows, levels]`, the finest first, as :func:`latent_tree` gives them; or of one level, `[rows]`.
      share: of the rows.
      seed: of the draws.

    References:
      Vo et al. 2024, https://arxiv.org/abs/2405.15613, section 3.4 (sampling from the hierarchy, random in the leaves).
    """
    levels = classes.reshape(len(classes), -1)
    generator = np.random.Generator(np.random.Philox(key=[seed, 13]))

    def drawn(rows: np.ndarray, level: int, count: int) -> list[np.ndarray]:
        if level < 0 or count == len(rows):
            return [generator.permutation(rows)[:count]]
        _, groups, sizes = np.unique(levels[rows, level], return_inverse=True, return_counts=True)
        wanted = evenly(sizes, count, generator)
        return [part for g in np.flatnonzero(wanted) for part in drawn(rows[groups == g], level - 1, int(wanted[g]))]

    return np.sort(np.concatenate(drawn(np.arange(len(levels)), levels.shape[1] - 1, part(share, classes))))


def highest(scores: Float[np.ndarray, ' rows'], share: float) -> Int[np.ndarray, ' kept']:
    """Numbers of the rows of largest score, ascending; of equal scores the smaller number."""
    return np.sort(np.argsort(-scores, kind='stable')[: part(share, scores)])


def random(features: np.ndarray, classes: np.ndarray, share: float, *, seed: int = 0) -> np.ndarray:
    """Random rows, the control."""
    order = np.random.Generator(np.random.Philox(key=[seed, 12])).permutation(len(classes))
    return np.sort(order[: part(share, classes)])


# Name -> (features [n, dim], latent classes [n], share of the rows, seed) -> numbers of rows, ascending. Of
# `hierarchical` the classes may be [n, levels].
SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
    'sas': by_class,
    'sas_authors': functools.partial(by_class, greedy=False),
    'balanced': balanced,
    'hierarchical': hierarchical,
    'random': random,
}


def subset(
    features: Float[np.ndarray, 'rows dim'],
    classes: Int[np.ndarray, ' rows'] | Int[np.ndarray, 'rows levels'],
    *,
    share: float,
    by: str = 'sas',
    seed: int = 0,
) -> Int[np.ndarray, ' kept']:
    """Numbers of the rows to train on, ascending.

    Args:
      features: of an encoder that was trained on all rows, or of another one (the proxy).
      classes: labels or :func:`latent_classes`; of 'hierarchical' also :func:`latent_tree`.
      share: of the rows, above 0 and at most 1.
      by: a row of :data:`SELECTIONS`.
      seed: of 'balanced', 'hierarchical' and 'random'.

    Raises:
      UserError: an unknown selection, a share out of range, features that are not finite or do not fit the classes.
    """
    if by not in SELECTIONS:
        raise UserError(f'{by!r} is no selection of rows; known are {", ".join(SELECTIONS)}')
    check_share(share)
    levels = (1, 2) if by == 'hierarchical' else (1,)
    if features.ndim != 2 or len(classes) != len(features) or classes.ndim not in levels or not len(features):
        raise UserError(f'features {list(features.shape)} and classes {list(classes.shape)} do not match')
    if not np.isfinite(features).all():
        raise UserError('features that rows are chosen by must be finite')
    return SELECTIONS[by](features, classes, share, seed=seed)
