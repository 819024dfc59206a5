"""Vision transformers: ViT-Ti, ViT-S and ViT-B as timm and DINO build them."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..signature import Count, Domain, Positive, ProperShare, Whole
from .positions import INTERPOLATIONS, interpolation_matrix, sincos_positions

POSITIONS = ('learned', 'sincos')
POOLS = ('token', 'mean')
truncated = nn.initializers.truncated_normal(0.02)


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    heads: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, length, dim = x.shape
        qkv = nn.Dense(3 * dim, kernel_init=truncated, dtype=self.dtype, name='qkv')(x)
        query, key, value = jnp.moveaxis(qkv.reshape(batch, length, 3, self.heads, dim // self.heads), 2, 0)
        x = jax.nn.dot_product_attention(query, key, value)
        return nn.Dense(dim, kernel_init=truncated, dtype=self.dtype, name='proj')(x.reshape(batch, length, dim))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: attention, then a GELU MLP, each with stochastic depth."""

    heads: int
    mlp_ratio: float
    drop_path: float
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = partial(nn.LayerNorm, epsilon=1e-6, dtype=self.dtype)
        linear = partial(nn.Dense, kernel_init=truncated, dtype=self.dtype)
        drop = nn.Dropout(self.drop_path, broadcast_dims=(1, 2), deterministic=not train)
        x = x + drop(Attention(self.heads, self.dtype, name='attn')(norm(name='norm1')(x)))
        y = linear(int(x.shape[-1] * self.mlp_ratio), name='fc1')(norm(name='norm2')(x))
        return x + drop(linear(x.shape[-1], name='fc2')(nn.gelu(y, approximate=False)))


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
      drop_path: stochastic depth of the last block, rising linearly from 0; needs a 'dropout' key.
      remat: keep only the blocks' inputs for the backward pass and run each block twice.
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
    dtype: Any = None

    @nn.compact
    def __call__(
        self, images: Float[Array, 'batch height width channels'], train: bool = False, order: Any = None
    ) -> Float[Array, 'batch features']:
        del order  # there is no batch-norm whose groups it could decide
        if self.positions not in ('learned', 'sincos') or self.pool not in ('token', 'mean'):
            raise ValueError(
                f"positions must be 'learned' or 'sincos' and pool 'token' or 'mean', "
                f'not {self.positions!r} and {self.pool!r}'
            )
        if images.shape[1] % self.patch or images.shape[2] % self.patch:
            raise ValueError(f'patches of {self.patch} do not tile images of {images.shape[1]}x{images.shape[2]}')
        size = (self.patch, self.patch)
        x = nn.Conv(self.dim, size, strides=size, padding='VALID', dtype=self.dtype, name='patch_embed')(images)
        if self.frozen_patches:
            x = jax.lax.stop_gradient(x)
        batch, height, width, dim = x.shape
        x = x.reshape(batch, height * width, dim) + self._positions(height, width)[None].astype(x.dtype)
        token = self.param('cls_token', truncated, (1, 1, dim))
        if self.positions == 'learned':
            token = token + self.param('cls_position', truncated, (1, 1, dim))
        x = jnp.concatenate([jnp.broadcast_to(token.astype(x.dtype), (batch, 1, dim)), x], axis=1)
        block = nn.remat(EncoderBlock, static_argnums=(2,)) if self.remat else EncoderBlock
        for index in range(self.depth):
            drop = self.drop_path * index / max(self.depth - 1, 1)
            x = block(self.heads, self.mlp_ratio, drop, self.dtype, name=f'block{index}')(x, train)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return x[:, 0] if self.pool == 'token' else jnp.mean(x[:, 1:], axis=1)

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
