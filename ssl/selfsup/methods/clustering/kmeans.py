"""Spherical k-means over a memory that may be spread over devices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..base import unit
from ..memory import PIECE

HIGHEST = jax.lax.Precision.HIGHEST


def nearest_and_sums(
    memory: Float[Array, 'rows dim'], valid: Bool[Array, ' rows'], centroids: Float[Array, 'count dim']
) -> tuple[Int[Array, ' rows'], Float[Array, 'count dim'], Float[Array, ' count']]:
    """The nearest centroid of each row, and for each centroid the sum and number of its valid rows.

    Sums are products with a one-hot matrix: on a GPU scattered additions differ from run to run.
    """
    pieces = jnp.swapaxes(memory.reshape(PIECE, -1, memory.shape[1]), 0, 1)
    masks = valid.reshape(PIECE, -1).T

    def visit(carry: tuple, piece: tuple) -> tuple:
        sums, counts = carry
        rows, mask = piece
        chosen = jnp.argmax(jnp.matmul(rows, centroids.T, precision=HIGHEST), axis=1)
        members = jax.nn.one_hot(chosen, centroids.shape[0], dtype=rows.dtype) * mask[:, None]
        sums = sums + jnp.matmul(members.T, rows, precision=HIGHEST)
        return (sums, counts + jnp.sum(members, axis=0)), chosen

    start = (jnp.zeros_like(centroids), jnp.zeros(centroids.shape[0], centroids.dtype))
    (sums, counts), chosen = jax.lax.scan(visit, start, (pieces, masks))
    return chosen.T.reshape(-1), sums, counts


def spherical_kmeans(
    key: PRNGKeyArray, memory: Float[Array, 'rows dim'], valid: Bool[Array, ' rows'], *, count: int, iterations: int
) -> tuple[Float[Array, 'count dim'], Int[Array, ' rows']]:
    """Unit centroids and each row's cluster (−1 where not valid), from random rows as first centroids.

    A centroid without rows stays where it is. `rows` is a multiple of `PIECE`.
    """
    memory = unit(memory)
    lots = jnp.where(valid, jax.random.uniform(key, valid.shape), -1.0)
    centroids = memory[jax.lax.top_k(lots, count)[1]]

    def improve(_: int, centroids: Array) -> Array:
        _, sums, counts = nearest_and_sums(memory, valid, centroids)
        return jnp.where((counts > 0)[:, None], unit(sums), centroids)

    centroids = jax.lax.fori_loop(0, iterations, improve, centroids)
    chosen, _, _ = nearest_and_sums(memory, valid, centroids)
    return centroids, jnp.where(valid, chosen, -1)
