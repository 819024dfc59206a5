"""Where the tokens of a transformer look, through its layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float


def attention_weights(
    qkv: Float[ArrayLike, 'batch length three_dim'], *, heads: int
) -> Float[Array, 'batch heads length length']:
    """softmax(q·kᵀ/√(dim/heads)) over keys, of queries, keys and values that one projection gives side by side.

    Args:
      qkv: what the tap `block<i>/attn/qkv` of our vision transformers gives; the last third, the values, is not read.
      heads: of the block.

    Raises:
      ValueError: a width that does not divide into three parts of `heads`.
    """
    qkv = as_float('qkv', qkv)
    if qkv.ndim != 3 or heads < 1 or qkv.shape[2] % (3 * heads):
        raise ValueError(
            f'qkv must have shape [batch, length, 3·dim], dim a multiple of {heads}, not {list(qkv.shape)}'
        )
    batch, length, width = qkv.shape
    query, key, _ = jnp.moveaxis(qkv.reshape(batch, length, 3, heads, width // (3 * heads)), 2, 0)
    logits = jnp.einsum('bqhd,bkhd->bhqk', query, key, precision=jax.lax.Precision.HIGHEST) / query.shape[-1] ** 0.5
    return jax.nn.softmax(logits)


def attention_rollout(
    weights: Float[ArrayLike, 'layers batch heads queries keys'], *, residual: float = 0.5
) -> Float[Array, 'batch queries keys']:
    """Share of each input token in each output token, if tokens only mixed by attention: Â_L ··· Â_2 Â_1.

    Â_l = (1 − r)·(mean of the heads' weights) + r·I, r being `residual`, for the residual connection.

    Args:
      weights: of all layers, the first one first; rows (queries) sum to one.
      residual: share of the residual connection, from 0 to 1. Paper: ½.

    Returns:
      Rows are tokens of the output, columns tokens of the input; each row sums to one.

    Cost: O(layers·batch·length³).

    References:
      Abnar & Zuidema 2020, https://arxiv.org/abs/2005.00928, eq. 1 and section 3.
    """
    weights = as_float('weights', weights)
    if weights.ndim != 5 or weights.shape[3] != weights.shape[4] or 0 in weights.shape:
        raise ValueError(
            f'weights must have shape [layers, batch, heads, length, length], none of them zero, '
            f'not {list(weights.shape)}'
        )
    if not 0.0 <= residual <= 1.0:
        raise ValueError(f'residual must lie in [0, 1], not {residual}')
    same = jnp.eye(weights.shape[3], dtype=weights.dtype)[None, None]
    mixed = (1.0 - residual) * jnp.mean(weights, axis=2) + residual * same
    product = mixed[0]
    for layer in mixed[1:]:
        product = jnp.matmul(layer, product, precision=jax.lax.Precision.HIGHEST)
    return product
