"""A narrow transformer from the tokens of some patches to a vector for others: MAE's decoder, I-JEPA's predictor."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..signature import Count, Positive, Whole
from .positions import sincos_positions
from .vit import EncoderBlock, truncated, xavier


class TransformerDecoder(nn.Module):
    """Tokens to width `dim`, mask tokens at the places to predict, fixed sine-cosine positions, blocks, norm, linear.

    Kernels start Xavier-uniform, as MAE's do.

    Attributes:
      dim, depth, heads: width (a multiple of 4 and of `heads`), blocks and attention heads.
      mlp_ratio: width of the blocks' MLPs over `dim`.
      out: width of the output; 0 leaves it to the method.
      dtype: compute type; parameters stay float32.

    References:
      He et al. 2022, https://arxiv.org/abs/2111.06377, sect. 3; Assran et al. 2023, https://arxiv.org/abs/2301.08243.
    """

    dim: Count = 128
    depth: Count = 2
    heads: Count = 4
    mlp_ratio: Positive = 4.0
    out: Whole = 0
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, 'batch length features'],
        keep: Int[Array, 'batch kept'],
        grid: tuple[int, int],
        queries: Int[Array, 'batch asked'] | None = None,
        train: bool = False,
    ) -> Float[Array, 'batch predicted out']:
        """Predicts from the tokens of the patches in `keep`.

        Args:
          tokens: an encoder's output: `length − kept` tokens without a place (the class token), then those of `keep`.
          keep: numbers of the patches that the tokens stand for, row by row on the grid.
          grid: rows and columns of patches.
          queries: numbers of the patches to predict, each a mask token beside the given tokens (I-JEPA); a patch
            may be among them twice. None asks for the whole grid (MAE): given tokens go to their places, mask tokens
            to the others.
          train: there is no dropout; the blocks are told.

        Returns:
          `[batch, rows·columns or asked, out]`, float32 or wider.

        Raises:
          ValueError: widths or shapes that do not fit.
        """
        self._check(tokens, keep)
        prefix = tokens.shape[1] - keep.shape[1]
        batch, count = tokens.shape[0], grid[0] * grid[1]
        x = nn.Dense(self.dim, kernel_init=xavier, dtype=self.dtype, name='embed')(tokens)
        mask = self.param('mask_token', truncated, (1, 1, self.dim)).astype(x.dtype)
        table = jnp.asarray(sincos_positions(*grid, self.dim), x.dtype)
        given, free = x[:, prefix:], x[:, :prefix]
        if queries is None:
            whole = jnp.broadcast_to(mask, (batch, count, self.dim))
            placed = whole.at[jnp.arange(batch)[:, None], keep].set(given)
            x = jnp.concatenate([free, placed + table[None]], axis=1)
        else:
            x = jnp.concatenate([free, given + table[keep], mask + table[queries]], axis=1)
        asked = count if queries is None else queries.shape[1]
        for index in range(self.depth):
            x = EncoderBlock(self.heads, self.mlp_ratio, 0.0, self.dtype, xavier, name=f'block{index}')(x, train)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x[:, x.shape[1] - asked :])
        x = nn.Dense(self.out, kernel_init=xavier, dtype=self.dtype, name='head')(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _check(self, tokens: Array, keep: Array) -> None:
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f'dim must be a multiple of 4 and of heads, {self.heads}, not {self.dim}')
        if self.out < 1:
            raise ValueError(f'out must be at least 1 where the decoder is applied, not {self.out}')
        if keep.shape[0] != tokens.shape[0] or keep.shape[1] > tokens.shape[1]:
            raise ValueError(
                f'keep must have shape [{tokens.shape[0]}, at most {tokens.shape[1]}] for tokens of shape '
                f'{list(tokens.shape)}, not {list(keep.shape)}'
            )
