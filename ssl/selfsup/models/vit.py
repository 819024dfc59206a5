"""Vision transformers: ViT-Ti, ViT-S and ViT-B as timm and DINO build them."""

import math
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ..signature import Count, Domain, Positive, ProperShare, Whole
from .convolution import Conv
from .positions import INTERPOLATIONS, interpolation_matrix, sincos_positions

POSITIONS = ('learned', 'sincos')
POOLS = ('token', 'mean')
truncated = nn.initializers.truncated_normal(0.02)


def xavier(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Xavier-uniform over the flattened kernel: a convolution's fan-in is all that one output sees, its fan-out one."""
    return nn.initializers.xavier_uniform()(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)


INITS = ('truncated', 'xavier')


def attend(query: Array, key: Array, value: Array) -> Array:
    """softmax(q·k/√d)·v over `[batch, length, heads, d]`, in the type of the arrays."""
    if query.dtype != jnp.float64:
        return jax.nn.dot_product_attention(query, key, value)
    # jax's function takes the softmax in float32, whatever the arrays are.
    logits = jnp.einsum('bqhd,bkhd->bhqk', query, key, precision='highest') / query.shape[-1] ** 0.5
    return jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(logits), value, precision='highest')


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    heads: int
    dtype: Any = None
    kernel_init: Any = truncated

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, length, dim = x.shape
        qkv = nn.Dense(3 * dim, kernel_init=self.kernel_init, dtype=self.dtype, name='qkv')(x)
        query, key, value = jnp.moveaxis(qkv.reshape(batch, length, 3, self.heads, dim // self.heads), 2, 0)
        x = attend(query, key, value)
        x = x.reshape(batch, length, dim)
        return nn.Dense(dim, kernel_init=self.kernel_init, dtype=self.dtype, name='proj')(x)


def drop_examples(x: Array, rate: float, keys: Array | None, stream: int) -> Array:
    """Stochastic depth: each example's `x` becomes 0 with probability `rate`, else x / (1 − rate).

    `keys` `[batch]` are typed keys, one an example; the draws of one block take different streams.
    """
    if rate == 0.0:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, stream), 1.0 - rate))(keys)
    return jnp.where(kept[:, None, None], x / (1.0 - rate), jnp.zeros((), x.dtype))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: attention, then a GELU MLP, each with stochastic depth."""

    heads: int
    mlp_ratio: float
    drop_path: float
    dtype: Any = None
    kernel_init: Any = truncated

    @nn.compact
    def __call__(self, x: Array, train: bool, keys: Array | None = None) -> Array:
        norm = partial(nn.LayerNorm, epsilon=1e-6, dtype=self.dtype)
        linear = partial(nn.Dense, kernel_init=self.kernel_init, dtype=self.dtype)
        attention = Attention(self.heads, self.dtype, self.kernel_init, name='attn')
        rate = self.drop_path if train else 0.0
        x = x + drop_examples(attention(norm(name='norm1')(x)), rate, keys, 0)
        y = linear(int(x.shape[-1] * self.mlp_ratio), name='fc1')(norm(name='norm2')(x))
        return x + drop_examples(linear(x.shape[-1], name='fc2')(nn.gelu(y, approximate=False)), rate, keys, 1)


class ViT(nn.Module):
    """A vision transformer; its output is the class token or the mean of the patches, after a norm.

    Attributes:
      dim, depth, heads: width, blocks and attention heads.
      patch: side of a patch in pixels; must divide the image.
      positions: 'learned' or 'sincos' (fixed, MoCo v3). Learned ones are interpolated when the image is
        not of the size the parameters were made for.
      interpolation: how: 'timm', 'dino' or 'torchvision', three bicubic ones that differ; see
        :func:`interpolation_matrix`.
      grid: side of the learned positions' grid; 0 takes it from the first image seen.
      pool: 'token' or 'mean'.
      frozen_patches: no gradient into the patch projection (MoCo v3's trick for stability).
      drop_path: stochastic depth of the last block, rising linearly from 0; in training, drawn from `keys`.
      remat: keep only the blocks' inputs for the backward pass and run each block twice.
      init_kernels: of the blocks: 'truncated' (normal of deviation 0.02: timm, DINO) or 'xavier' (uniform, that of the
        flattened patch projection too: MAE). At widths far below 192 the first is so small that blocks start idle.
      views: accepted as in :class:`BatchNorm`, and without effect, since no example sees another.
      dtype: compute type; parameters stay float32.

    References:
      Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; Touvron et al. 2021 (Ti, S).
    """

    dim: Count
    depth: Annotated[int, Domain(int, least=1, most=1000)] = 12
    heads: Count = 12
    patch: Count = 16
    mlp_ratio: Positive = 4.0
    positions: Annotated[str, Domain(str, choices=POSITIONS)] = 'learned'
    interpolation: Annotated[str, Domain(str, choices=INTERPOLATIONS)] = 'timm'
    grid: Whole = 0
    pool: Annotated[str, Domain(str, choices=POOLS)] = 'token'
    frozen_patches: bool = False
    drop_path: ProperShare = 0.0
    remat: bool = False
    init_kernels: Annotated[str, Domain(str, choices=INITS)] = 'truncated'
    views: int = 1
    dtype: Any = None

    def __call__(
        self,
        images: Float[Array, 'batch height width channels'],
        train: bool = False,
        order: Any = None,
        keys: Key[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch features']:
        del order  # there is no batch-norm whose groups it could decide
        return self.pooled(self.tokens(images, train=train, keys=keys))

    def pooled(self, tokens: Float[Array, 'batch length features']) -> Float[Array, 'batch features']:
        """The class token of what :meth:`tokens` gives, or the mean of its patch tokens, as `pool` says."""
        return tokens[:, 0] if self.pool == 'token' else jnp.mean(tokens[:, 1:], axis=1)

    @nn.compact
    def tokens(
        self,
        images: Float[Array, 'batch height width channels'],
        *,
        keep: Int[Array, 'batch kept'] | None = None,
        hidden: Bool[Array, 'batch patches'] | None = None,
        blocks: int = 1,
        train: bool = False,
        keys: Key[Array, ' batch'] | None = None,
    ) -> Any:
        """Class token and patch tokens before pooling, in at least float32.

        Args:
          images: the patches are numbered row by row.
          keep: numbers of the patches that the blocks see, in the order of the output; None keeps all. Each image
            has its own, all have equally many. Positions are added before the others are dropped.
          hidden: patches whose embedding is replaced by a learned mask token, before positions are added. The
            parameter `mask_token` exists only if `init` is called with `hidden`.
          blocks: the outputs of how many blocks, counted from the last, are given.
          train: stochastic depth is applied; it draws from `keys`, one an example, or from flax's 'dropout' stream if
            there are none.

        Returns:
          `[batch, 1 + kept, features]`, the class token first, after the last norm. With `blocks` above 1 a tuple of
          such arrays, in the order of the blocks; only the last one is normed.

        Raises:
          ValueError: fields, image size, `keep`, `hidden` or `blocks` that do not fit.
        """
        self._check(images, keep, hidden, blocks)
        size = (self.patch, self.patch)
        kernel_init = xavier if self.init_kernels == 'xavier' else truncated
        first = {'kernel_init': xavier} if self.init_kernels == 'xavier' else {}
        x = Conv(self.dim, size, size, dtype=self.dtype, name='patch_embed', **first)(images)
        if self.frozen_patches:
            x = jax.lax.stop_gradient(x)
        batch, height, width, dim = x.shape
        x = x.reshape(batch, height * width, dim)
        if hidden is not None:
            mask = self.param('mask_token', truncated, (1, 1, dim))
            x = jnp.where(hidden[:, :, None], mask.astype(x.dtype), x)
        x = x + self._positions(height, width)[None].astype(x.dtype)
        if keep is not None:
            x = jnp.take_along_axis(x, keep[:, :, None], axis=1)
        token = self.param('cls_token', truncated, (1, 1, dim))
        if self.positions == 'learned':
            token = token + self.param('cls_position', truncated, (1, 1, dim))
        x = jnp.concatenate([jnp.broadcast_to(token.astype(x.dtype), (batch, 1, dim)), x], axis=1)
        block = nn.remat(EncoderBlock, static_argnums=(2,)) if self.remat else EncoderBlock
        if train and self.drop_path > 0 and keys is None:
            keys = jax.random.split(self.make_rng('dropout'), batch)
        outputs = []
        for index in range(self.depth):
            drop = self.drop_path * index / max(self.depth - 1, 1)
            own = None if keys is None else jax.vmap(lambda key, index=index: jax.random.fold_in(key, index))(keys)
            x = block(self.heads, self.mlp_ratio, drop, self.dtype, kernel_init, name=f'block{index}')(x, train, own)
            outputs.append(x)
        outputs[-1] = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x)
        last = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in outputs[-blocks:]]
        return last[0] if blocks == 1 else tuple(last)

    def _check(self, images: Array, keep: Array | None, hidden: Array | None, blocks: int) -> None:
        """Refuses fields and arguments of `tokens` that do not fit one another."""
        if self.positions not in ('learned', 'sincos') or self.pool not in ('token', 'mean'):
            raise ValueError(
                f"positions must be 'learned' or 'sincos' and pool 'token' or 'mean', "
                f'not {self.positions!r} and {self.pool!r}'
            )
        if self.init_kernels not in INITS:
            raise ValueError(f'init_kernels must be one of {", ".join(INITS)}, not {self.init_kernels!r}')
        batch, height, width, _ = images.shape
        if height % self.patch or width % self.patch:
            raise ValueError(f'patches of {self.patch} do not tile images of {height}x{width}')
        patches = (height // self.patch) * (width // self.patch)
        if keep is not None and (keep.ndim != 2 or keep.shape[0] != batch or not 1 <= keep.shape[1] <= patches):
            raise ValueError(f'keep must have shape [{batch}, 1 to {patches}], not {list(keep.shape)}')
        if hidden is not None and hidden.shape != (batch, patches):
            raise ValueError(f'hidden must have shape {[batch, patches]}, not {list(hidden.shape)}')
        if not 1 <= blocks <= self.depth:
            raise ValueError(f'blocks must be from 1 to {self.depth}, the depth, not {blocks}')

    def _positions(self, height: int, width: int) -> Array:
        if self.positions == 'sincos':
            return jnp.asarray(sincos_positions(height, width, self.dim))
        rows, columns = (self.grid, self.grid) if self.grid else (height, width)
        if self.has_variable('params', 'positions'):
            count = self.variables['params']['positions'].shape[0]
            if count != rows * columns:
                rows = columns = round(count**0.5)
        table = self.param('positions', truncated, (rows * columns, self.dim))
        if (rows, columns) == (height, width):
            return table
        down = jnp.asarray(interpolation_matrix(rows, height, self.interpolation))
        along = jnp.asarray(interpolation_matrix(columns, width, self.interpolation))
        table = table.reshape(rows, columns, self.dim)
        table = jnp.einsum('hr,rcd,wc->hwd', down, table, along, precision=jax.lax.Precision.HIGHEST)
        return table.reshape(height * width, self.dim)


vit_ti = partial(ViT, dim=192, heads=3)
vit_s = partial(ViT, dim=384, heads=6)
vit_b = partial(ViT, dim=768, heads=12)
