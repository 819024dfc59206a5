"""The nearest earlier embeddings in the place of the other view: NNCLR, NNSiam, NNBYOL, All4One."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, same_width


def nearest(z: Float[ArrayLike, 'batch dim'], queue: Float[ArrayLike, 'length dim']) -> Float[Array, 'batch dim']:
    """The row of the queue nearest to each embedding in cosine, scaled to unit length; no gradient passes.

    Args:
      z: embeddings, any norm.
      queue: earlier embeddings, one a row (normalised here).

    Returns:
      Unit rows; of several that are equally near, the queue's first.

    References:
      Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, eq. 2.
    """
    similarity, queue = _similarity(z, queue)
    return queue[jnp.argmax(similarity, axis=1)]


def nearest_few(
    z: Float[ArrayLike, 'batch dim'], queue: Float[ArrayLike, 'length dim'], *, count: int = 5
) -> Float[Array, 'batch count dim']:
    """The `count` rows of the queue nearest to each embedding in cosine, nearest first and of unit length; no gradient.

    Args:
      z: embeddings, any norm.
      queue: earlier embeddings, one a row (normalised here), at least `count`.
      count: how many. All4One: 5.

    Returns:
      Unit rows; of several that are equally near, the queue's first comes first.

    References:
      Estepa et al. 2023, https://arxiv.org/abs/2303.09417, section 3.2.
    """
    similarity, queue = _similarity(z, queue)
    if not 1 <= count <= len(queue):
        raise ValueError(f'count={count} rows cannot be chosen from a queue of {len(queue)}')
    return queue[jax.lax.top_k(similarity, count)[1]]


def _similarity(z: ArrayLike, queue: ArrayLike) -> tuple[Array, Array]:
    """Cosines `[batch, length]`, and the unit rows of the queue."""
    z, queue = matrix('z', z), matrix('queue', queue)
    same_width('queue', queue, 'z', z)
    queue = jax.lax.stop_gradient(normalize(queue.astype(z.dtype)))
    return jnp.matmul(normalize(jax.lax.stop_gradient(z)), queue.T, precision=HIGHEST), queue
