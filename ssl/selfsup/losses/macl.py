"""MACL: NT-Xent whose temperature follows the alignment, and whose easy anchors are weighed up again."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import pair, positive
from .negatives import similarities


def macl(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    temperature: ArrayLike = 0.1,
    alpha: ArrayLike = 0.5,
    reference: ArrayLike = 0.0,
    eps: float = 1e-8,
) -> Float[Array, '']:
    """Model-aware contrastive loss, the mean over all 2·batch anchors.

    With A the mean cosine of the positives and P the softmax of an anchor's positive among its 2·batch − 1 rows at

        τ = τ₀·(1 + α·(A − A₀)):    L = mean −sg[ 1 / (1 − P + ε) ]·log P.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows, any norm (normalised here).
      temperature: τ₀. lightly: 0.1.
      alpha: α in [0, 1]. lightly: 0.5.
      reference: A₀ in [0, 1], the alignment at which τ = τ₀. lightly: 0.
      eps: ε of the weight.

    Returns:
      Mean loss, ≥ 1 (−log P ≥ 1 − P); with n = 2·batch − 1, n·log(n) / (n − 1) at collapse. Its slope is what is
      meant: that of NT-Xent divided by 1 − P.

    Convention: neither τ nor the weight carries gradient.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Huang et al. 2023, https://arxiv.org/abs/2207.07874; in the form of lightly's `MACLLoss`.
    """
    positive('temperature', temperature)
    for name, value in (('alpha', alpha), ('reference', reference)):
        if not isinstance(value, jax.core.Tracer) and not 0 <= value <= 1:
            raise ValueError(f'{name} must lie in [0, 1], and is {value}')
    positives, others = similarities(*pair(z1, z2, rows=2))
    tau = temperature * (1.0 + alpha * (jax.lax.stop_gradient(jnp.mean(positives)) - reference))
    # In terms of the rest's share: 1 − P of a softmax near 1 is rounding, and the weight would magnify it.
    rest = jax.nn.logsumexp(others / tau, axis=-1) - positives / tau
    weight = jax.lax.stop_gradient(1.0 / (jax.nn.sigmoid(rest) + eps))
    return jnp.mean(weight * jax.nn.softplus(rest))
