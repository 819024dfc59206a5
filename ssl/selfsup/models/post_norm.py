"""A transformer as of Vaswani et al. 2017: normalisation after each addition, dropout at four places of a block."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..errors import UserError
from .mlp import dense
from .transformer import mlp_width, parted, xavier


def dropped(x: Array, rate: float, keys: Array | None, stream: int) -> Array:
    """Each number of an example becomes 0 with probability `rate`, else x / (1 − rate).

    `keys` `[batch]` are typed keys, one an example; the draws of one network take different streams.
    """
    if rate == 0.0:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, stream), 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1.0 - rate), jnp.zeros((), x.dtype))


class PostNormTransformer(nn.Module):
    """Blocks of self-attention and a ReLU MLP, x ← LN(x + f(x)), over tokens that already know their places.

    torch's `TransformerEncoderLayer` with its defaults: ε of layer norm 1e-5, dropout of attention weights, of what the
    attention gives, inside the MLP and of what it gives; Xavier-uniform query, key and value. Its `TransformerEncoder`
    starts all blocks with the same numbers; here each has its own.

    Attributes:
      depth: blocks.
      heads: attention heads, which divide the tokens' width.
      mlp_ratio: hidden units of an MLP over the tokens' width.
      dropout: rate, in training alone; drawn from `keys`, one an example.
      dtype: compute type; parameters stay float32.
    """

    depth: int
    heads: int
    mlp_ratio: float
    dropout: float = 0.1
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch length dim'], train: bool = False, keys: Array | None = None
    ) -> Float[Array, 'batch length dim']:
        batch, length, dim = x.shape
        if dim % self.heads:
            raise UserError(f'heads={self.heads} must divide the {dim} numbers of a token')
        rate = self.dropout if train else 0.0
        for block in range(self.depth):
            name = f'block{block}_'
            qkv = nn.Dense(3 * dim, kernel_init=xavier, dtype=self.dtype, name=name + 'qkv')(x)
            query, key, value = parted(qkv, self.heads)
            logits = jnp.einsum('bqhd,bkhd->bhqk', query, key, precision='highest') / (dim // self.heads) ** 0.5
            weights = dropped(jax.nn.softmax(logits), rate, keys, 4 * block)
            seen = jnp.einsum('bhqk,bkhd->bqhd', weights, value, precision='highest').reshape(batch, length, dim)
            seen = dense(seen, dim, bias=True, name=name + 'proj', dtype=self.dtype)
            norm1, norm2 = (nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name + n) for n in ('norm1', 'norm2'))
            x = norm1(x + dropped(seen, rate, keys, 4 * block + 1))
            hidden = dense(x, mlp_width(dim, self.mlp_ratio), bias=True, name=name + 'fc1', dtype=self.dtype)
            hidden = dropped(nn.relu(hidden), rate, keys, 4 * block + 2)
            hidden = dense(hidden, dim, bias=True, name=name + 'fc2', dtype=self.dtype)
            x = norm2(x + dropped(hidden, rate, keys, 4 * block + 3))
        return x
