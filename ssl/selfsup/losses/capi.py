"""Prediction of a target network's cluster assignments, balanced at each place apart (CAPI)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float, positive
from .transport import sinkhorn


def capi_targets(
    scores: Float[ArrayLike, 'batch places count'], *, temperature: ArrayLike = 0.06, iterations: int = 3
) -> Float[Array, 'batch places count']:
    """Assignments of patches to clusters that use all clusters equally at each place: :func:`sinkhorn` over the batch.

    With one balance over all patches the clusters come to encode the place; apart, each place has all of them.

    Args:
      scores: of the target network's patches against the clusters.
      temperature: the entropy's weight. Authors: 0.06.
      iterations: authors: 3. 0 balances nothing.

    Returns:
      Rows summing to 1, without gradient. All 1 / count where all scores of a place are equal.

    Convention: the balance is over the examples of the batch, of which there should be no fewer than clusters.

    Cost: O(iterations·batch·places·count); no state. Every row depends on the whole batch.

    References:
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769, sect. 3.2.
    """
    scores = as_float('scores', scores)
    if scores.ndim != 3:
        raise ValueError(f'scores must have shape [batch, places, count], not {list(scores.shape)}')

    def balanced(place: Array) -> Array:
        return sinkhorn(place, epsilon=temperature, iterations=iterations)

    return jax.lax.stop_gradient(jax.vmap(balanced, in_axes=1, out_axes=1)(scores))


def capi(
    predictions: Float[ArrayLike, 'batch places count'],
    targets: Float[ArrayLike, 'batch places count'],
    *,
    temperature: ArrayLike = 0.12,
) -> Float[Array, '']:
    """Cross-entropy −Σ_k t_k log softmax(p / τ)_k, mean over places and batch (CAPI).

    It is the loss of the student's predictions and, with the scores themselves as predictions, that of the clusters.

    Args:
      predictions: scores against the clusters.
      targets: of :func:`capi_targets`, at the same places; their gradient is stopped here.
      temperature: τ. Authors: 0.12, for both.

    Returns:
      Nats, ≥ 0; log(count) where all scores are equal.

    Cost: O(batch·places·count); no state.

    References:
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769, eq. 1 and 2.
    """
    positive('temperature', temperature)
    predictions, targets = as_float('predictions', predictions), as_float('targets', targets)
    if predictions.ndim != 3 or predictions.shape != targets.shape:
        raise ValueError(
            'predictions and targets must both have shape [batch, places, count], and have '
            f'{list(predictions.shape)} and {list(targets.shape)}'
        )
    logs = jax.nn.log_softmax(predictions / temperature, axis=-1)
    return -jnp.mean(jnp.sum(jax.lax.stop_gradient(targets) * logs, axis=-1))
