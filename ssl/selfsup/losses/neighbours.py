"""The nearest earlier embedding in the place of the other view: NNCLR, NNSiam, NNBYOL."""

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
    z, queue = matrix('z', z), matrix('queue', queue)
    same_width('queue', queue, 'z', z)
    queue = jax.lax.stop_gradient(normalize(queue.astype(z.dtype)))
    similarity = jnp.matmul(normalize(jax.lax.stop_gradient(z)), queue.T, precision=HIGHEST)
    return queue[jnp.argmax(similarity, axis=1)]
