"""ReSSL: a view's relations to a queue should equal those of its weakly augmented partner."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, pair, positive, same_width


def ressl(
    query: Float[ArrayLike, 'batch dim'],
    key: Float[ArrayLike, 'batch dim'],
    queue: Float[ArrayLike, 'length dim'],
    *,
    temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.04,
) -> Float[Array, '']:
    """Relational consistency: cross entropy from the teacher's to the student's relations (section 3.2).

    L = −mean_i Σ_j softmax_j(sg n(k_i)·Q_j/τ_t) · log softmax_j(n(q_i)·Q_j/τ_s), over the rows Q of the queue.

    Args:
      query: the student's embeddings of the strongly augmented view (normalised here).
      key: the teacher's embeddings of the weakly augmented view (normalised here); no gradient passes.
      queue: earlier keys, one a row (normalised here); the current keys are not among them.
      temperature: τ_s of the student. Paper and solo-learn: 0.1.
      teacher_temperature: τ_t; lower than τ_s, so that the target is sharper. Paper and solo-learn: 0.04.

    Returns:
      Mean cross entropy in nats, at least the entropy of the teacher's relations, and reaching it only
      for equal distributions; log(length) when everything, queue included, is one point.

    Convention: a cross entropy, not a divergence (the teacher's entropy is not subtracted), of one
    direction. A pair's own key is in neither distribution.

    Cost: O(batch·length·dim); state: the queue, kept by the caller.

    References:
      Zheng et al. 2021, https://arxiv.org/abs/2107.09282, section 3.2.
    """
    positive('temperature', temperature)
    positive('teacher_temperature', teacher_temperature)
    query, key = pair(query, key, names=('query', 'key'))
    queue = matrix('queue', queue)
    same_width('queue', queue, 'query', query)
    queue = normalize(queue.astype(query.dtype))
    student = jnp.matmul(normalize(query), queue.T, precision=HIGHEST) / temperature
    teacher = jnp.matmul(normalize(key), queue.T, precision=HIGHEST) / teacher_temperature
    target = jax.lax.stop_gradient(jax.nn.softmax(teacher, axis=-1))
    return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(student, axis=-1), axis=-1))
