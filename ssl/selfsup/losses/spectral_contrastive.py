"""The spectral contrastive loss: a factorisation of the matrix of which views belong together."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, pair, positive


def spectral_contrastive(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    ball: ArrayLike | None = None,
    itself: bool = False,
) -> Float[Array, '']:
    """L = −2·mean z1ᵢ·z2ᵢ + mean_{i≠j} (z1ᵢ·z2ⱼ)²: its optimum is known in closed form (section 3).

    For rows that are linear in their inputs, or in a kernel's coordinates, :func:`selfsup.diagnostics.linear_optimum`
    gives the minimiser.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows; not normalised.
      ball: µ: rows longer than √µ are brought to that length, and the loss is divided by µ. The authors' code: 1 by
        default, 3 to 10 in their runs. None leaves the rows as they are.
      itself: whether the second mean takes the pairs i = j along, which makes it tr(S1 S2) of the two views' second
        moments: a function of them alone.

    Returns:
      A scalar ≥ −Σ λᵢ² over the `dim` largest canonical correlations (without `ball`), so ≥ −dim; 0 for rows of zeros.

    Convention: uncentred second moments.

    Cost: O(batch²·dim) time and O(batch²) memory, O(batch·dim²) with `itself`; no state.

    References:
      HaoChen et al. 2021, https://arxiv.org/abs/2106.04156, section 3.
    """
    z1, z2 = pair(z1, z2, rows=2)
    scale = 1.0
    if ball is not None:
        positive('ball', ball)
        z1, z2 = (
            jnp.where(jnp.sum(z * z, axis=1, keepdims=True) < ball, z, normalize(z) * jnp.sqrt(ball)) for z in (z1, z2)
        )
        scale = ball
    batch = z1.shape[0]
    together = jnp.mean(jnp.sum(z1 * z2, axis=1))
    if itself:
        first, second = (jnp.matmul(z.T, z, precision=HIGHEST) / batch for z in (z1, z2))
        apart = jnp.sum(first * second)
    else:
        products = jnp.where(jnp.eye(batch, dtype=bool), 0.0, jnp.matmul(z1, z2.T, precision=HIGHEST))
        apart = jnp.sum(products * products) / batch / (batch - 1.0)
    return (apart - 2.0 * together) / scale
