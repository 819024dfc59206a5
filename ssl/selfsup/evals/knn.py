"""Weighted k-nearest-neighbour classification, exact and in chunks on the device."""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from ..errors import UserError
from ..parallel import replicated, sharded
from .features import Features, check, check_both, first_best, held_out, unit_rows
from .hubs import majority, neighbours

NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.02, 0.07, 0.2, 1.0)
MOST_COSINES = 2**28  # held at a time by one search: 1 GiB


# The search is a program of its own: when what follows reads only a part of its result (the first column,
# say), XLA does not recognise a top-k and sorts all columns, which on a CPU is ten times slower.
@functools.partial(jax.jit, static_argnames=('k',))
def _search(query: Array, bank: Array, *, k: int) -> tuple[Array, Array]:
    return tuple(jax.lax.top_k(jnp.matmul(query, bank.T, precision=jax.lax.Precision.HIGHEST), k))


def search(
    query: np.ndarray, bank: np.ndarray, *, k: int, chunk: int = 1024, mesh: Mesh | None = None
) -> Iterator[tuple[slice, Array, Array]]:
    """The `k` rows of `bank` of largest inner product with each row of `query`, exact, best first.

    Args:
      query, bank: rows of unit length (:func:`unit_rows`), so that products are cosines.
      k: neighbours, at most the rows of `bank`.
      chunk: most queries at a time; fewer where chunk·rows(bank) cosines would be more than `MOST_COSINES`.
      mesh: queries are spread over it, and every device holds the bank.

    Yields:
      For each chunk: which queries, their cosines and the indices of their neighbours, on the device; the
      last chunk is filled up with its first row.
    """
    if not 1 <= k <= len(bank):
        raise UserError(f'{k} neighbours are more than the {len(bank)} samples to choose from')
    chunk = max(min(chunk, MOST_COSINES // len(bank)), 1)
    size = -(-len(query) // -(-len(query) // chunk))  # chunks of one size with the least to fill up
    size += -size % (mesh.shape['data'] if mesh else 1)
    held = jax.device_put(bank, replicated(mesh)) if mesh else jnp.asarray(bank)
    for start in range(0, len(query), size):
        rows = query[start : start + size]
        padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
        cosines, index = _search(jax.device_put(padded, sharded(mesh) if mesh else None), held, k=k)
        yield slice(start, start + len(rows)), cosines, index


@functools.partial(jax.jit, static_argnames=('neighbours', 'classes'))
def _winners(
    cosines: Array, index: Array, known: Array, temperatures: Array, *, neighbours: tuple[int, ...], classes: int
) -> Array:
    """Winning class `[queries, k, temperatures]` for every k and temperature; votes only ever grow with k.

    `known` are the labels of the bank, of which `index` are the neighbours.
    """
    labels = known[index]
    rows = jnp.arange(cosines.shape[0])[:, None]
    weights = jnp.exp((cosines - cosines[:, :1])[..., None] / temperatures[None, None])
    votes = jnp.zeros((cosines.shape[0], classes, len(temperatures)), cosines.dtype)
    winners = []
    for first, last in zip((0, *neighbours[:-1]), neighbours, strict=True):
        votes = votes.at[rows, labels[:, first:last]].add(weights[:, first:last])
        winners.append(jnp.argmax(votes, axis=1))
    return jnp.stack(winners, axis=1)


def predict_grid(
    train: Features,
    test: np.ndarray,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    chunk: int = 1024,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Class of each row of `test` for every k and temperature, `[k, temperatures, queries]`, by one search.

    The k nearest rows of `train` in cosine vote with weights exp(cosine / τ); of equal votes the smaller
    class wins.

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4.
    """
    ordered = tuple(sorted(set(neighbours)))
    if not ordered or ordered[0] < 1 or min(temperatures, default=0) <= 0:
        raise UserError(f'k-NN needs positive k and temperatures, not {neighbours} and {temperatures}')
    names, places = np.unique(train.labels, return_inverse=True)
    labels, heat = jax.device_put((places.astype(np.int32), np.asarray(temperatures, np.float32)))
    found = np.zeros((len(ordered), len(temperatures), len(test)), np.int32)
    bank, query = unit_rows(train.features), unit_rows(test)
    for rows, cosines, index in search(query, bank, k=ordered[-1], chunk=chunk, mesh=mesh):
        winners = _winners(cosines, index, labels, heat, neighbours=ordered, classes=len(names))
        found[..., rows] = np.moveaxis(names[np.asarray(winners)[: rows.stop - rows.start]], 0, -1)
    return found[[ordered.index(k) for k in neighbours]]


def predict(
    train: Features, test: np.ndarray, *, k: int = 20, temperature: float = 0.07, chunk: int = 1024
) -> np.ndarray:
    """Class of each row of `test` for one k and temperature; see :func:`predict_grid`."""
    return predict_grid(train, test, neighbours=(k,), temperatures=(temperature,), chunk=chunk)[0, 0]


def knn(
    train: Features, test: Features, *, k: int = 20, temperature: float = 0.07, reduction: str = ''
) -> dict[str, float]:
    """Accuracy of :func:`predict`, as `{'knn': share}`; a smaller train set than `k` votes as a whole.

    With a `reduction` of hubs (:data:`selfsup.evals.hubs.REDUCTIONS`) neighbours are the nearest after it, and vote
    unweighted: reduced distances have no unit that a temperature could be of. 'none' is that vote without a reduction.
    """
    check(train, 'train'), check(test, 'test')
    if reduction:
        found = neighbours(train.features, test.features, k=min(k, len(train.features) - 1), reduction=reduction)
        return {'knn': float(np.mean(majority(train.labels, found) == test.labels))}
    predicted = predict(train, test.features, k=min(k, len(train.features)), temperature=temperature)
    return {'knn': float(np.mean(predicted == test.labels))}


def knn_grid(
    train: Features,
    test: Features,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    share: float = 0.1,
    seed: int = 0,
    chunk: int = 1024,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Weighted k-NN over a grid of k and temperature.

    Args:
      train, test: features and labels.
      neighbours, temperatures: the grid; k above the samples that remain with `share` held out is left out.
      share, seed: of the part of train on which the best cell is chosen, see :func:`held_out`.
      chunk, mesh: see :func:`search`.

    Returns:
      `knn_<k>_<τ>`, the test accuracy of every cell; `knn`, that of the cell that is best on the held-out
      part of train (all of train votes), with `chosen_knn_k` and `chosen_knn_temperature`.
    """
    train, test, _ = check_both(train, test, classes=1)
    mask = held_out(train.labels, share=share, seed=seed)
    possible = tuple(k for k in neighbours if k <= np.sum(~mask))
    if not possible:
        raise UserError(
            f'{min(neighbours, default=0)} neighbours are more than the {np.sum(~mask)} samples to choose from'
        )
    grid = {'neighbours': possible, 'temperatures': temperatures, 'chunk': chunk, 'mesh': mesh}
    part = Features(train.features[~mask], train.labels[~mask])
    inner = (predict_grid(part, train.features[mask], **grid) == train.labels[mask]).mean(axis=-1)
    outer = (predict_grid(train, test.features, **grid) == test.labels).mean(axis=-1)
    row, column = first_best(inner)
    cells = {f'knn_{k}_{t:g}': float(outer[i, j]) for i, k in enumerate(possible) for j, t in enumerate(temperatures)}
    chosen = {'chosen_knn_k': float(possible[row]), 'chosen_knn_temperature': float(temperatures[column])}
    return {'knn': float(outer[row, column]), **chosen, **cells}
