"""What transformers are made of: attention, stochastic depth, LayerScale, pre-norm blocks."""

import math
import re
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import UserError

truncated = nn.initializers.truncated_normal(0.02)


def xavier(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Xavier-uniform over the flattened kernel: a convolution's fan-in is all that one output sees, its fan-out one."""
    return nn.initializers.xavier_uniform()(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)


def mlp_width(dim: int, ratio: float) -> int:
    """Hidden units of a block's MLP.

    Raises:
      UserError: a ratio that leaves none.
    """
    width = int(dim * ratio)
    if width < 1:
        raise UserError(f'mlp_ratio={ratio:g} of {dim} features leaves no hidden unit; see model.mlp_ratio')
    return width


ATTENTIONS = ('auto', 'xla')


def has_fused_attention() -> bool:
    """Whether the first device is an NVIDIA GPU of compute capability 8.0 or more, for which cuDNN has one."""
    capability = str(getattr(jax.devices()[0], 'compute_capability', ''))
    return (
        jax.default_backend() == 'gpu' and re.fullmatch(r'\d+\.\d+', capability) is not None and float(capability) >= 8
    )


def attend(query: Array, key: Array, value: Array, valid: Array | None = None, kind: str = 'auto') -> Array:
    """softmax(q·k/√d)·v over `[batch, length, heads, d]`, in the type of the arrays.

    No query sees the keys that `valid` `[batch, length]` marks false. With `kind` 'auto' 16-bit arrays without `valid`
    pass through cuDNN's kernel, which keeps no matrix of weights, where the device has it; 'xla' never uses it.
    """
    width = query.shape[-1]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    if kind == 'auto' and half and valid is None and width % 8 == 0 and width <= 128 and has_fused_attention():
        return fused(query, key, value)
    seen = None if valid is None else valid[:, None, None, :]
    if query.dtype != jnp.float64:
        return jax.nn.dot_product_attention(query, key, value, mask=seen)
    # jax's function takes the softmax in float32, whatever the arrays are.
    logits = jnp.einsum('bqhd,bkhd->bhqk', query, key, precision='highest') / query.shape[-1] ** 0.5
    if seen is not None:
        logits = jnp.where(seen, logits, -1e30)  # not -inf, which makes NaN where nothing is valid
    return jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(logits), value, precision='highest')


def fused(query: Array, key: Array, value: Array) -> Array:
    """:func:`attend` by cuDNN, whose kernel takes even lengths only: odd ones get a place that no query sees."""
    lengths = [x.shape[1] for x in (query, key)]
    query, key, value = (jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0))) for x in (query, key, value))
    asked, known = (jnp.full(query.shape[:1], length, jnp.int32) for length in lengths)
    out = jax.nn.dot_product_attention(
        query, key, value, query_seq_lengths=asked, key_value_seq_lengths=known, implementation='cudnn'
    )
    return out[:, : lengths[0]]


def parted(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values `[batch, length, heads, dim / heads]` of what one projection gives, `[…, 3·dim]`."""
    batch, length, width = qkv.shape
    query, key, value = jnp.moveaxis(qkv.reshape(batch, length, 3, heads, width // (3 * heads)), 2, 0)
    return query, key, value


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    heads: int
    dtype: Any = None
    kernel_init: Any = truncated
    kind: str = 'auto'

    @nn.compact
    def __call__(self, x: Array, valid: Array | None = None) -> Array:
        batch, length, dim = x.shape
        qkv = nn.Dense(3 * dim, kernel_init=self.kernel_init, dtype=self.dtype, name='qkv')(x)
        x = attend(*parted(qkv, self.heads), valid, self.kind)
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


class LayerScale(nn.Module):
    """Multiplies each feature by a learned factor, which starts at `start` (CaiT, https://arxiv.org/abs/2103.17239)."""

    start: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        gamma = self.param('gamma', nn.initializers.constant(self.start), (x.shape[-1],))
        return x * gamma[None, None].astype(x.dtype)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: attention, then a GELU MLP, each with stochastic depth.

    `layer_scale` above 0 scales what each of the two adds (:class:`LayerScale`). With `apart` the call also gives what
    the MLP adds, before stochastic depth.
    """

    heads: int
    mlp_ratio: float
    drop_path: float
    dtype: Any = None
    kernel_init: Any = truncated
    layer_scale: float = 0.0
    attention: str = 'auto'

    @nn.compact
    def __call__(
        self, x: Array, train: bool, keys: Array | None = None, valid: Array | None = None, apart: bool = False
    ) -> Any:
        norm = partial(nn.LayerNorm, epsilon=1e-6, dtype=self.dtype)
        linear = partial(nn.Dense, kernel_init=self.kernel_init, dtype=self.dtype)
        attention = Attention(self.heads, self.dtype, self.kernel_init, self.attention, name='attn')
        rate = self.drop_path if train else 0.0

        def scaled(branch: Array, name: str) -> Array:
            return LayerScale(self.layer_scale, name=name)(branch) if self.layer_scale > 0 else branch

        x = x + drop_examples(scaled(attention(norm(name='norm1')(x), valid), 'ls1'), rate, keys, 0)
        y = linear(mlp_width(x.shape[-1], self.mlp_ratio), name='fc1')(norm(name='norm2')(x))
        y = linear(x.shape[-1], name='fc2')(nn.gelu(y, approximate=False))
        x = x + drop_examples(scaled(y, 'ls2'), rate, keys, 1)
        return (x, y) if apart else x
