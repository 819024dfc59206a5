"""Ranking of known pairs against everything else, in the place of correlations of similarities."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from .features import extract, unit_rows

HITS = (1, 3)


@jax.jit
def _ranks(rows: Array, own: Array, partner: Array, pool: Array) -> Array:
    """1 + how many rows of the pool are more alike to each row than its partner, itself and the partner left out."""
    cosines = jnp.matmul(rows, pool.T, precision=jax.lax.Precision.HIGHEST)
    bound = jnp.take_along_axis(cosines, partner[:, None], axis=1)
    places = jnp.arange(pool.shape[0])[None]
    others = (places != own[:, None]) & (places != partner[:, None])
    return 1 + jnp.sum((cosines > bound) & others, axis=1)


def pair_rank(
    first: np.ndarray, second: np.ndarray, *, background: np.ndarray | None = None, centred: bool = True
) -> dict[str, float]:
    """EvalRank: where the partner of each row stands among all rows by cosine.

    Args:
      first, second: the two sides of the pairs, `[pairs, dim]`.
      background: more rows that compete, `[rows, dim]`; both sides of all pairs always do.
      centred: the mean of all rows is taken away first, as in the authors' code.

    Returns:
      `pair_mrr`, the mean reciprocal rank, `pair_hits@1`, `pair_hits@3`, `pair_mean_rank`; from the first side to the
      second. A tie counts for the pair. At collapse all are 1: look at the spread too.

    Raises:
      UserError: sides that do not match.

    References:
      Wang et al. 2022, https://arxiv.org/abs/2203.02679, section 4.
    """
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise UserError(f'pairs need two sides [pairs, dim], not {list(first.shape)} and {list(second.shape)}')
    sides = [np.asarray(x, np.float32) for x in (first, second, background) if x is not None]
    if sides[-1].shape[1:] != first.shape[1:]:
        raise UserError(f'the background is {sides[-1].shape[1]} wide and the pairs {first.shape[1]}')
    pool = np.concatenate(sides)
    pool = unit_rows(pool - pool.mean(axis=0) if centred else pool)
    held, own = jax.device_put(pool), np.arange(len(first), dtype=np.int32)
    numbered = np.stack([own, own + len(first)], axis=1)
    found = extract(lambda rows: _ranks(held[rows[:, 0]], rows[:, 0], rows[:, 1], held), numbered, batch_size=1024)
    ranks = np.asarray(found, np.float64)
    hits = {f'pair_hits@{k}': float(np.mean(ranks <= k)) for k in HITS}
    return {'pair_mrr': float(np.mean(1 / ranks)), **hits, 'pair_mean_rank': float(ranks.mean())}
