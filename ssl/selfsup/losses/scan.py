"""SCAN (Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320): neighbours share a cluster; then self-labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import pair

# The authors' least probability in the entropy of the mean.
EPS = 1e-8


def scan_terms(
    z1: Float[ArrayLike, 'batch count'], z2: Float[ArrayLike, 'batch count'], *, eps: float = EPS
) -> dict[str, Array]:
    """The terms of :func:`scan`: `consistency` and `entropy`.

    Args:
      z1, z2, eps: see :func:`scan`.

    Returns:
      The two scalars by name, without weight: −mean log⟨p, q⟩ ≥ 0, and H of the mean of p, in [0, log(count)].

    References:
      Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320, eq. 2.
    """
    z1, z2 = pair(z1, z2)
    together = jax.nn.log_softmax(z1, axis=1) + jax.nn.log_softmax(z2, axis=1)
    mean = jnp.maximum(jnp.mean(jax.nn.softmax(z1, axis=1), axis=0), eps)
    return {
        'consistency': -jnp.mean(jax.nn.logsumexp(together, axis=1)),
        'entropy': -jnp.sum(mean * jnp.log(mean)),
    }


def scan(
    z1: Float[ArrayLike, 'batch count'],
    z2: Float[ArrayLike, 'batch count'],
    *,
    entropy_weight: ArrayLike = 5.0,
    eps: float = EPS,
) -> Float[Array, '']:
    """Semantic clustering by adopting nearest neighbours: L = −mean log⟨p_i, q_i⟩ − λ·H(mean_i p_i).

    Args:
      z1: scores of the images, p = softmax(z1).
      z2: scores of a neighbour of each, q = softmax(z2). Both get a gradient.
      entropy_weight: λ. Authors: 5 in their configs, 2 as their class's default.
      eps: least probability in H. Authors: 1e-8.

    Returns:
      A scalar in nats, ≥ −λ·log(count), which it is where neighbours surely share a cluster and all clusters are as
      large. log(count) − λ·log(count) where all scores are equal; 0 where one cluster has everything.

    Convention: the entropy is of the images' predictions alone, not of their neighbours'. The consistency is taken
    from logarithms; the authors' binary cross-entropy ends at 100.

    Cost: O(batch·count); no state. Every row depends on the whole batch.

    References:
      Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320, eq. 2.
    """
    terms = scan_terms(z1, z2, eps=eps)
    return terms['consistency'] - entropy_weight * terms['entropy']


def confident_cross_entropy(
    z1: Float[ArrayLike, 'batch count'],
    z2: Float[ArrayLike, 'batch count'],
    *,
    threshold: ArrayLike = 0.99,
    balanced: bool = True,
) -> Float[Array, '']:
    """SCAN's self-labels: where the weak view is sure of a cluster, the strong view predicts it.

    L = Σ w·−log softmax(z2)_k / Σ w over rows whose largest softmax(z1), that of k, is above the threshold.

    Args:
      z1: scores of the weakly augmented images; no gradient enters them.
      z2: scores of the strongly augmented ones.
      threshold: in [0, 1). Authors: 0.99.
      balanced: w = 1 / rows of the cluster, so that all clusters weigh the same; else w = 1.

    Returns:
      Mean cross-entropy in nats, ≥ 0; log(count) where all strong scores are equal. 0, without a gradient, where no
      row is sure, such as at a collapse of the weak scores to equal ones; the authors stop there.

    Cost: O(batch·count); no state.

    References:
      Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320, section 2.3.
    """
    z1, z2 = pair(z1, z2)
    chances = jax.nn.softmax(jax.lax.stop_gradient(z1), axis=1)
    own = jax.nn.one_hot(jnp.argmax(chances, axis=1), z1.shape[1], dtype=z1.dtype)
    own = own * (jnp.max(chances, axis=1, keepdims=True) > threshold)
    sizes = jnp.sum(own, axis=0, keepdims=True)
    weights = jnp.sum(own / jnp.maximum(sizes, 1.0), axis=1) if balanced else jnp.sum(own, axis=1)
    total = jnp.sum(weights)
    entropy = -jnp.sum(own * jax.nn.log_softmax(z2, axis=1), axis=1)
    return jnp.sum(weights * entropy) / jnp.where(total > 0, total, 1.0)
