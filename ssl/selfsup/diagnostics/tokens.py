"""How many directions the tokens of a transformer use."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import as_float
from .spectrum import singular_values


def token_rank(
    tokens: Float[ArrayLike, 'batch length dim'],
    counted: Bool[ArrayLike, 'batch length'] | None = None,
    *,
    share: ArrayLike = 0.9,
) -> Int[Array, '']:
    """Least k with Σ_{i ≤ k} σ_i² ≥ share · Σ σ_i², σ the singular values of the tokens as rows.

    Of the tokens of real patches it tells how many dimensions an encoder leaves to them: one that is also fed with mask
    tokens keeps some for these, and a real token of a whole image uses fewer (representation deficiency).

    Args:
      tokens: of a layer, uncentred as in the paper.
      counted: which of them count, for example real ones beside mask tokens, or patches beside the class token. None:
        all.
      share: τ of the squared singular values. Paper: 0.9.

    Returns:
      From 1 to `dim`; 0 where all counted tokens are zero.

    Cost: O(batch·length·dim²).

    References:
      Meng et al. 2024, https://arxiv.org/abs/2302.02060, sect. 3.
    """
    tokens = as_float('tokens', tokens)
    if tokens.ndim != 3:
        raise ValueError(f'tokens must have shape [batch, length, dim], not {list(tokens.shape)}')
    if counted is not None:
        counted = jnp.asarray(counted)
        if counted.shape != tokens.shape[:2]:
            raise ValueError(f'counted must have shape {list(tokens.shape[:2])}, not {list(counted.shape)}')
        tokens = jnp.where(counted[:, :, None], tokens, 0.0)  # a row of zeros has no part in the singular values
    energy = singular_values(tokens.reshape(-1, tokens.shape[2])) ** 2
    total = jnp.sum(energy)
    # Sums of float32 come short of the whole by rounding, so the last of several equal ones is found from above.
    below = jnp.cumsum(energy) < share * total * (1 - 4 * jnp.finfo(energy.dtype).eps)
    return jnp.where(total > 0, jnp.minimum(jnp.sum(below) + 1, len(energy)), 0).astype(jnp.int32)
