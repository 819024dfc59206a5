"""Vision transformers: ViT-Ti, ViT-S and ViT-B as timm and DINO build them."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ..errors import UserError
from ..signature import Count, Domain, NonNegative, Positive, ProperShare, Whole
from .convolution import Conv
from .positions import INTERPOLATIONS, interpolation_matrix, sincos_positions
from .taps import Tap
from .transformer import ATTENTIONS, EncoderBlock, truncated, xavier

POSITIONS = ('learned', 'sincos')
POOLS = ('token', 'mean')
INITS = ('truncated', 'xavier')
OUTPUTS = ('norm', 'norms', 'block', 'mlp')


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
      pool: 'token' or 'mean', of the patches.
      class_token: whether there is one; without it (I-JEPA) `pool` must be 'mean'.
      registers: so many learned tokens without a position stand between the class token and the patches; no output is
        made of them (Darcet et al. 2024).
      layer_scale: what attention and MLP add is scaled by learned factors, which start at this value (CaiT, BEiT: 0.1,
        DINOv2: 1e-5); 0 has none.
      frozen_patches: no gradient into the patch projection (MoCo v3's trick for stability).
      drop_path: stochastic depth of the last block, rising linearly from 0; in training, drawn from `keys`.
      remat: keep only the blocks' inputs for the backward pass and run each block twice.
      init_kernels: of the blocks: 'truncated' (normal of deviation 0.02: timm, DINO) or 'xavier' (uniform, that of the
        flattened patch projection too: MAE). At widths far below 192 the first is so small that blocks start idle.
      attention: 'auto' takes cuDNN's kernel for 16-bit activations where the device has it, 'xla' never
        (:func:`selfsup.models.transformer.attend`).
      views: accepted as in :class:`BatchNorm`, and without effect, since no example sees another.
      dtype: compute type; parameters stay float32.

    References:
      Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; Touvron et al. 2021 (Ti, S); registers: Darcet et al.
      2024, https://arxiv.org/abs/2309.16588.
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
    class_token: bool = True
    registers: Whole = 0
    layer_scale: NonNegative = 0.0
    frozen_patches: bool = False
    drop_path: ProperShare = 0.0
    remat: bool = False
    init_kernels: Annotated[str, Domain(str, choices=INITS)] = 'truncated'
    attention: Annotated[str, Domain(str, choices=ATTENTIONS)] = 'auto'
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

    def pooled(
        self, tokens: Float[Array, 'batch length features'], valid: Bool[Array, 'batch kept'] | None = None
    ) -> Float[Array, 'batch features']:
        """The class token of what :meth:`tokens` gives, or the mean of its (valid) patch tokens, as `pool` says."""
        if self.pool == 'token':
            return tokens[:, 0]
        patches = tokens[:, self.prefix :]
        if valid is None:
            return jnp.mean(patches, axis=1)
        return jnp.mean(patches, axis=1, where=valid[:, :, None])

    @property
    def prefix(self) -> int:
        """How many tokens stand before those of the patches: the class token and the registers."""
        return int(self.class_token) + self.registers

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of what enters the first block, the blocks and the last norm (:mod:`selfsup.models.taps`)."""
        return ('embedded', *(f'block{index}' for index in range(self.depth)), 'norm')

    @property
    def lens(self) -> tuple[str, ...]:
        """Layers of one shape; the rest of the network behind the last one reads all of them as it reads that one."""
        return self.layers[:-1]

    @nn.compact
    def tokens(
        self,
        images: Float[Array, 'batch height width channels'],
        *,
        keep: Int[Array, 'views kept'] | None = None,
        valid: Bool[Array, 'views kept'] | None = None,
        hidden: Bool[Array, 'batch patches'] | None = None,
        blocks: int = 1,
        of: str = 'norm',
        train: bool = False,
        keys: Key[Array, ' views'] | None = None,
    ) -> Any:
        """Class token, registers and patch tokens before pooling, in at least float32.

        Args:
          images: the patches are numbered row by row.
          keep: numbers of the patches that the blocks see, in the order of the output; None keeps all. Each image
            has its own, all have equally many. Positions are added before the others are dropped. With several rows
            for each image, those of the first image first, the images' patches are embedded once for all of them.
          valid: which entries of `keep` count; no token attends to the others. None counts all.
          hidden: patches whose embedding is replaced by a learned mask token, before positions are added. The
            parameter `mask_token` exists only if `init` is called with `hidden`.
          blocks: the outputs of how many blocks, counted from the last, are given. With one more than the depth what
            enters the first block comes before them.
          of: what these outputs are: 'norm', the blocks' outputs, the last of them after the last norm; 'norms', each
            of them after that norm; 'block', the blocks' outputs without it; 'mlp', what the blocks' MLPs add.
          train: stochastic depth is applied; it draws from `keys`, one an example, or from flax's 'dropout' stream if
            there are none.

        Returns:
          `[views, prefix + kept, features]`, a view for each image or row of `keep`, the class token first. With
          `blocks` above 1 a tuple of such arrays, in the order of the blocks.

        Raises:
          ValueError: fields, image size, `keep`, `valid`, `hidden`, `blocks` or `of` that do not fit.
        """
        self._check(images, keep, valid, hidden, blocks, of)
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
            x = jnp.repeat(x, len(keep) // batch, axis=0) if len(keep) > batch else x
            x = jnp.take_along_axis(x, keep[:, :, None], axis=1)
        x, valid = self._prefixed(x, valid)
        x = Tap(name='embedded')(x)
        block = nn.remat(EncoderBlock, static_argnums=(2, 5)) if self.remat else EncoderBlock
        if train and self.drop_path > 0 and keys is None:
            keys = jax.random.split(self.make_rng('dropout'), len(x))
        outputs = [x]
        for index in range(self.depth):
            drop = self.drop_path * index / max(self.depth - 1, 1)
            own = None if keys is None else jax.vmap(lambda key, index=index: jax.random.fold_in(key, index))(keys)
            fields = (self.heads, self.mlp_ratio, drop, self.dtype, kernel_init, self.layer_scale, self.attention)
            found = block(*fields, name=f'block{index}')(x, train, own, valid, of == 'mlp')
            x, output = found if of == 'mlp' else (found, found)
            outputs.append(output)
        norm = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')
        normed = norm(x)
        outputs = outputs[-blocks:]
        if of == 'norms':
            outputs[:-1] = [norm(output) for output in outputs[:-1]]
        outputs[-1] = normed if of in ('norm', 'norms') else outputs[-1]
        last = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in outputs]
        return last[0] if blocks == 1 else tuple(last)

    def _prefixed(self, x: Array, valid: Array | None) -> tuple[Array, Array | None]:
        """Patch tokens behind the class token and the registers, and which of all are valid."""
        batch, _, dim = x.shape
        before = []
        if self.class_token:
            token = self.param('cls_token', truncated, (1, 1, dim))
            if self.positions == 'learned':
                token = token + self.param('cls_position', truncated, (1, 1, dim))
            before.append(token)
        if self.registers:
            before.append(self.param('registers', truncated, (1, self.registers, dim)))
        spread = [jnp.broadcast_to(token.astype(x.dtype), (batch, *token.shape[1:])) for token in before]
        if valid is not None:
            valid = jnp.concatenate([jnp.ones((batch, self.prefix), bool), valid], axis=1)
        return jnp.concatenate([*spread, x], axis=1), valid

    def _check(
        self,
        images: Array,
        keep: Array | None,
        valid: Array | None,
        hidden: Array | None,
        blocks: int,
        of: str,
    ) -> None:
        """Refuses fields and arguments of `tokens` that do not fit one another."""
        if self.positions not in ('learned', 'sincos') or self.pool not in ('token', 'mean'):
            raise ValueError(
                f"positions must be 'learned' or 'sincos' and pool 'token' or 'mean', "
                f'not {self.positions!r} and {self.pool!r}'
            )
        if self.pool == 'token' and not self.class_token:
            raise ValueError("pool='token' needs class_token=True; without one pool must be 'mean'")
        if self.init_kernels not in INITS:
            raise ValueError(f'init_kernels must be one of {", ".join(INITS)}, not {self.init_kernels!r}')
        batch, height, width, _ = images.shape
        if height % self.patch or width % self.patch:
            raise UserError(f'patches of {self.patch} do not tile images of {height}x{width}; see model.patch')
        patches = (height // self.patch) * (width // self.patch)
        if keep is not None and (keep.ndim != 2 or keep.shape[0] % batch or not 1 <= keep.shape[1] <= patches):
            raise ValueError(f'keep must have shape [{batch}, 1 to {patches}], not {list(keep.shape)}')
        if valid is not None and (keep is None or valid.shape != keep.shape):
            shape = 'none' if keep is None else list(keep.shape)
            raise ValueError(f'valid must have the shape of keep, {shape}, not {list(valid.shape)}')
        if hidden is not None and hidden.shape != (batch, patches):
            raise ValueError(f'hidden must have shape {[batch, patches]}, not {list(hidden.shape)}')
        if of not in OUTPUTS:
            raise ValueError(f'of must be one of {", ".join(OUTPUTS)}, not {of!r}')
        if not 1 <= blocks <= self.depth + (of != 'mlp'):
            raise ValueError(
                f"blocks must be from 1 to {self.depth}, the depth, or one more (but of='mlp'), not {blocks}"
            )

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
vit_l = partial(ViT, dim=1024, depth=24, heads=16)
vit_h = partial(ViT, dim=1280, depth=32, heads=16, patch=14)
# Table 2 of Zhai et al., Scaling Vision Transformers: ViT-g/14, an MLP of 6144 units. DINOv2's ViT-g is another one.
vit_g = partial(ViT, dim=1408, depth=40, heads=16, mlp_ratio=48 / 11, patch=14)
