"""From the tokens of some patches to a vector for others: MAE's decoder, I-JEPA's predictor, data2vec's heads."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ..errors import UserError
from ..signature import Count, Domain, NonNegative, Positive, Whole
from .positions import sincos_positions
from .transformer import EncoderBlock, truncated, xavier
from .vit import INITS


class TransformerDecoder(nn.Module):
    """Tokens to width `dim`, mask tokens at the places to predict, fixed sine-cosine positions, blocks, norm, linear.

    Attributes:
      dim, depth, heads: width (a multiple of 4 and of `heads`), blocks and attention heads.
      mlp_ratio: width of the blocks' MLPs over `dim`.
      out: width of the output; 0 leaves it to the method.
      init_kernels: as in :class:`ViT`; MAE's start Xavier-uniform, I-JEPA's from a truncated normal.
      layer_scale: as in :class:`ViT`; 0 has none.
      dtype: compute type; parameters stay float32.

    References:
      He et al. 2022, https://arxiv.org/abs/2111.06377, sect. 3; Assran et al. 2023, https://arxiv.org/abs/2301.08243.
    """

    dim: Count = 128
    depth: Count = 2
    heads: Count = 4
    mlp_ratio: Positive = 4.0
    out: Whole = 0
    init_kernels: Annotated[str, Domain(str, choices=INITS)] = 'xavier'
    layer_scale: NonNegative = 0.0
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
        valid: Bool[Array, 'batch kept'] | None = None,
        asked: Bool[Array, 'batch asked'] | None = None,
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
          keys: not used; decoders that draw noise take them.
          valid, asked: which entries of `keep` and of `queries` count, where there are queries: no token attends to the
            others, whose outputs mean nothing. None counts all.

        Returns:
          `[batch, rows·columns or asked, out]`, float32 or wider.

        Raises:
          ValueError: widths or shapes that do not fit.
        """
        del keys
        self._check(tokens, keep, queries, valid, asked)
        kernel_init = xavier if self.init_kernels == 'xavier' else truncated
        prefix = tokens.shape[1] - keep.shape[1]
        batch, count = tokens.shape[0], grid[0] * grid[1]
        x = nn.Dense(self.dim, kernel_init=kernel_init, dtype=self.dtype, name='embed')(tokens)
        mask = self.param('mask_token', truncated, (1, 1, self.dim)).astype(x.dtype)
        table = jnp.asarray(sincos_positions(*grid, self.dim), x.dtype)
        given, free = x[:, prefix:], x[:, :prefix]
        seen = None
        if queries is None:
            whole = jnp.broadcast_to(mask, (batch, count, self.dim))
            placed = whole.at[jnp.arange(batch)[:, None], keep].set(given)
            x = jnp.concatenate([free, placed + table[None]], axis=1)
        else:
            x = jnp.concatenate([free, given + table[keep], mask + table[queries]], axis=1)
            if valid is not None or asked is not None:
                flags = [jnp.ones(f.shape[:2], bool) if v is None else v for f, v in ((keep, valid), (queries, asked))]
                seen = jnp.concatenate([jnp.ones((batch, prefix), bool), *flags], axis=1)
        predicted = count if queries is None else queries.shape[1]
        for index in range(self.depth):
            fields = (self.heads, self.mlp_ratio, 0.0, self.dtype, kernel_init, self.layer_scale)
            x = EncoderBlock(*fields, name=f'block{index}')(x, train, None, seen)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x[:, x.shape[1] - predicted :])
        x = nn.Dense(self.out, kernel_init=kernel_init, dtype=self.dtype, name='head')(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _check(
        self, tokens: Array, keep: Array, queries: Array | None, valid: Array | None, asked: Array | None
    ) -> None:
        if self.dim % self.heads or self.dim % 4:
            raise ValueError(f'dim must be a multiple of 4 and of heads, {self.heads}, not {self.dim}')
        if self.init_kernels not in INITS:
            raise ValueError(f'init_kernels must be one of {", ".join(INITS)}, not {self.init_kernels!r}')
        check_out(self.out)
        check_keep(tokens, keep)
        if queries is None and (valid is not None or asked is not None):
            raise ValueError('valid and asked are of calls with queries; the whole grid takes neither')
        for name, flags, numbers in (('valid', valid, keep), ('asked', asked, queries)):
            if flags is not None and numbers is not None and flags.shape != numbers.shape:
                raise ValueError(f'{name} must have shape {list(numbers.shape)}, not {list(flags.shape)}')


class LinearDecoder(nn.Module):
    """One linear layer from the token of each patch to its prediction: the heads of SimMIM and data2vec.

    Every patch has a token of its own, so the encoder must have seen all of them (hidden ones as mask tokens).

    Attributes:
      out: width of the output; 0 leaves it to the method.
      init_kernels: as in :class:`ViT`.
      dtype: compute type; parameters stay float32.

    References:
      Xie et al. 2022, https://arxiv.org/abs/2111.09886, sect. 3.3.
    """

    out: Whole = 0
    init_kernels: Annotated[str, Domain(str, choices=INITS)] = 'truncated'
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
    ) -> Float[Array, 'batch predicted out']:
        """Predicts each patch, or those of `queries`, from its own token; arguments as of :class:`TransformerDecoder`.

        Args:
          keep: all patches, in the order of the tokens.

        Raises:
          UserError: fewer tokens than patches.
          ValueError: shapes that do not fit.
        """
        del train, keys
        check_out(self.out)
        check_keep(tokens, keep)
        count = grid[0] * grid[1]
        if keep.shape[1] != count:
            raise UserError(
                f"decoder.kind='linear' predicts a patch from its own token, and the encoder sees {keep.shape[1]} of "
                f"{count} patches; take decoder.kind='transformer'"
            )
        x = tokens[:, tokens.shape[1] - count :]
        order = jnp.argsort(keep, axis=1)
        order = order if queries is None else jnp.take_along_axis(order, queries, axis=1)
        x = jnp.take_along_axis(x, order[:, :, None], axis=1)
        kernel_init = xavier if self.init_kernels == 'xavier' else truncated
        x = nn.Dense(self.out, kernel_init=kernel_init, dtype=self.dtype, name='head')(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class ConvolutionalDecoder(nn.Module):
    """Convolutions over the grid of patches, with noise in the place of hidden ones: data2vec 2.0's decoder.

    Each layer is a convolution in groups, a norm over the channels without parameters, a GELU, and the layer's input
    where its width is that of the output; a linear layer ends them.

    Attributes:
      dim, depth: channels and number of the layers. Paper: 768 and 6 for ViT-B.
      kernel: side of their windows in patches.
      channel_groups: of each convolution; must divide `dim` and the width of the tokens.
      noise: deviation of what stands at hidden patches.
      out: width of the output; 0 leaves it to the method.
      dtype: compute type; parameters stay float32.

    References:
      Baevski et al. 2023, https://arxiv.org/abs/2212.07525, sect. 3.3.
    """

    dim: Count = 128
    depth: Annotated[int, Domain(int, least=1, most=1000)] = 3
    kernel: Count = 3
    channel_groups: Count = 16
    noise: NonNegative = 0.01
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
        keys: Key[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch predicted out']:
        """Predicts every patch, or those of `queries`; other arguments as of :class:`TransformerDecoder`.

        Tokens without a place are left out.

        Args:
          keys: one an example, of which the noise is drawn; without keys there is 0 in its place.

        Raises:
          UserError: groups that do not divide the channels.
          ValueError: shapes that do not fit.
        """
        del train
        check_out(self.out)
        check_keep(tokens, keep)
        batch, _, width = tokens.shape
        count = grid[0] * grid[1]
        if self.dim % self.channel_groups or width % self.channel_groups:
            raise UserError(
                f'decoder.channel_groups={self.channel_groups} must divide decoder.dim={self.dim} and model.dim={width}'
            )
        x = jnp.zeros((batch, count, width), tokens.dtype)
        if keys is not None:
            drawn = jax.vmap(lambda key: jax.random.normal(key, (count, width), jnp.float32))(keys)
            x = self.noise * drawn.astype(x.dtype)
        given = tokens[:, tokens.shape[1] - keep.shape[1] :]
        x = x.at[jnp.arange(batch)[:, None], keep].set(given).reshape(batch, *grid, width)
        for index in range(self.depth):
            side = (self.kernel, self.kernel)
            y = nn.Conv(self.dim, side, feature_group_count=self.channel_groups, dtype=self.dtype, name=f'conv{index}')(
                x
            )
            y = nn.LayerNorm(epsilon=1e-5, use_scale=False, use_bias=False, dtype=self.dtype, name=f'norm{index}')(y)
            y = nn.gelu(y, approximate=False)
            x = x + y if x.shape == y.shape else y
        x = x.reshape(batch, count, self.dim)
        if queries is not None:
            x = jnp.take_along_axis(x, queries[:, :, None], axis=1)
        x = nn.Dense(self.out, dtype=self.dtype, name='head')(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def check_out(out: int) -> None:
    """Refuses a decoder whose width of output nobody has set."""
    if out < 1:
        raise ValueError(f'out must be at least 1 where the decoder is applied, not {out}')


def check_keep(tokens: Array, keep: Array) -> None:
    """Refuses numbers of patches that are not of these tokens."""
    if keep.shape[0] != tokens.shape[0] or keep.shape[1] > tokens.shape[1]:
        raise ValueError(
            f'keep must have shape [{tokens.shape[0]}, at most {tokens.shape[1]}] for tokens of shape '
            f'{list(tokens.shape)}, not {list(keep.shape)}'
        )
