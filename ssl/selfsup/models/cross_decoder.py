"""Mask tokens that attend to an encoder's tokens: the decoders of CrossMAE and BootMAE, the predictor of CAPI."""

from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ..errors import UserError
from ..signature import Count, Domain, Positive, Whole
from .decoder import check_keep, check_out
from .positions import sincos_positions
from .transformer import Attention, attend, mlp_width, truncated, xavier
from .vit import INITS


class CrossBlock(nn.Module):
    """Pre-norm block: self-attention if wanted, attention to a context as it is given, then a GELU MLP."""

    heads: int
    mlp_ratio: float
    self_attention: bool
    dtype: Any = None
    kernel_init: Any = truncated

    @nn.compact
    def __call__(self, x: Array, context: Array) -> Array:
        def norm(name: str) -> nn.Module:
            return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)

        def linear(width: int, name: str) -> nn.Module:
            return nn.Dense(width, kernel_init=self.kernel_init, dtype=self.dtype, name=name)

        batch, length, dim = x.shape
        if self.self_attention:
            x = x + Attention(self.heads, self.dtype, self.kernel_init, name='attn')(norm('norm0')(x))
        query = linear(dim, 'q')(norm('norm1')(x)).reshape(batch, length, self.heads, -1)
        both = linear(2 * dim, 'kv')(context).reshape(batch, context.shape[1], 2, self.heads, -1)
        seen = attend(query, both[:, :, 0], both[:, :, 1]).reshape(batch, length, dim)
        x = x + linear(dim, 'proj')(seen)
        y = linear(mlp_width(dim, self.mlp_ratio), 'fc1')(norm('norm2')(x))
        return x + linear(dim, 'fc2')(nn.gelu(y, approximate=False))


class CrossDecoder(nn.Module):
    """Mask tokens with fixed sine-cosine positions, which attend to the tokens of an encoder; norm, linear.

    Attributes:
      dim, depth, heads: width (a multiple of 4 and of `heads`), blocks and attention heads.
      mlp_ratio: width of the blocks' MLPs over `dim`.
      out: width of the output; 0 leaves it to the method.
      self_attention: whether the decoder's tokens also attend to one another (BootMAE). Without it each patch is
        predicted apart from the others, so that any part of them may be asked for (CrossMAE, CAPI).
      init_kernels: as in :class:`ViT`.
      dtype: compute type; parameters stay float32.

    References:
      Fu et al. 2024, https://arxiv.org/abs/2401.14391, sect. 3; Dong et al. 2022, https://arxiv.org/abs/2207.07116;
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769.
    """

    dim: Count = 128
    depth: Count = 2
    heads: Count = 4
    mlp_ratio: Positive = 4.0
    out: Whole = 0
    self_attention: bool = False
    init_kernels: Annotated[str, Domain(str, choices=INITS)] = 'xavier'
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, 'batch length features'],
        keep: Int[Array, 'batch kept'],
        grid: tuple[int, int],
        queries: Int[Array, 'batch asked'] | None = None,
        train: bool = False,
        keys: Key[Array, ' batch'] | None = None,
        maps: tuple[Float[Array, 'batch length width'], ...] = (),
    ) -> Float[Array, 'batch predicted out']:
        """Predicts from the tokens of the patches in `keep`.

        Args:
          tokens: an encoder's output: `length − kept` tokens without a place (the class token), then those of `keep`.
          keep: numbers of the patches that the tokens stand for, row by row on the grid.
          grid: rows and columns of patches.
          queries: numbers of the patches to predict, each a mask token. None asks for the whole grid: given tokens
            are brought to `dim` and put at their places without a further position, mask tokens at the others.
          train, keys: not used: nothing is drawn.
          maps: what the blocks attend to, each after a norm of its own: one array, or several, of which each block
            takes a weighted sum with weights that it learns (CrossMAE's inter-block attention). Without maps it is
            `tokens` as they are.

        Returns:
          `[batch, asked or rows·columns, out]`, float32 or wider.

        Raises:
          UserError: a width that does not fit the heads.
          ValueError: shapes that do not fit.
        """
        del train, keys
        check_out(self.out)
        check_keep(tokens, keep)
        if self.dim % self.heads or self.dim % 4:
            raise UserError(f'dim={self.dim} of the decoder must be a multiple of 4 and of heads={self.heads}')
        kernel_init = xavier if self.init_kernels == 'xavier' else truncated
        batch, count, prefix = tokens.shape[0], grid[0] * grid[1], tokens.shape[1] - keep.shape[1]
        mask = self.param('mask_token', truncated, (1, 1, self.dim))
        mask = mask.astype(jnp.promote_types(mask.dtype, tokens.dtype) if self.dtype is None else self.dtype)
        table = jnp.asarray(sincos_positions(*grid, self.dim), mask.dtype)
        if queries is None:
            x = nn.Dense(self.dim, kernel_init=kernel_init, dtype=self.dtype, name='embed')(tokens)
            whole = jnp.broadcast_to(mask + table[None], (batch, count, self.dim)).astype(x.dtype)
            placed = whole.at[jnp.arange(batch)[:, None], keep].set(x[:, prefix:])
            x = jnp.concatenate([x[:, :prefix], placed], axis=1)
        else:
            x = mask + table[queries]
        contexts = self._contexts(tokens, maps)
        for index in range(self.depth):
            fields = (self.heads, self.mlp_ratio, self.self_attention, self.dtype, kernel_init)
            x = CrossBlock(*fields, name=f'block{index}')(x, contexts[index])
        predicted = count if queries is None else queries.shape[1]
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x[:, x.shape[1] - predicted :])
        x = nn.Dense(self.out, kernel_init=kernel_init, dtype=self.dtype, name='head')(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _contexts(self, tokens: Array, maps: tuple[Array, ...]) -> list[Array]:
        """What each block attends to."""
        if not maps:
            return [tokens] * self.depth
        weighed = [maps[0]] * self.depth
        if len(maps) > 1:
            start = nn.initializers.normal(len(maps) ** -0.5)
            weights = self.param('map_weights', start, (self.depth, len(maps)))
            stacked = jnp.stack(maps)
            weighed = list(jnp.einsum('dm,mblf->dblf', weights.astype(stacked.dtype), stacked, precision='highest'))
        return [
            nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=f'context_norm{index}')(x)
            for index, x in enumerate(weighed)
        ]
