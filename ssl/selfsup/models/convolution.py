"""The convolution of every model: flax's parameters and initialisation, with a weight gradient that suits the backend.

XLA's weight gradient of a small kernel takes five times as long on a CPU as the same sums written as matrix products of
shifted inputs (`docs/performance.md`). Which of the two is compiled is decided when the program is lowered, so GPU and
TPU programs have XLA's own.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from ..parallel import varying_axes

conv_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')  # torchvision's of its ResNets
Pairs = tuple[tuple[int, int], tuple[int, int]]
NHWC = ('NHWC', 'HWIO', 'NHWC')
# Up to so many input channels the shifted inputs are joined into one product: alone they are too thin for it.
JOINED_CHANNELS = 32


def _plain(x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs) -> Array:
    """XLA's convolution."""
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)


def _shifted(x: Array, size: tuple[int, int], strides: tuple[int, int], padding: Pairs, out: tuple[int, int]) -> list:
    """What each place of the kernel sees: a strided slice `[batch, *out, channels]` of the padded input a place."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    ends = [(number - 1) * stride + 1 for number, stride in zip(out, strides, strict=True)]
    return [
        jax.lax.slice(x, (0, i, j, 0), (x.shape[0], i + ends[0], j + ends[1], x.shape[3]), (1, *strides, 1))
        for i in range(size[0])
        for j in range(size[1])
    ]


def _sum_of_products(rows: Array, gradient: Array) -> Array:
    """Σ over all but the last axis of rows ⊗ gradient, added up in at least float32: `[…, in]`, `[…, out]`."""
    axes = tuple(range(rows.ndim - 1))
    kind = jnp.promote_types(rows.dtype, jnp.float32)
    return jax.lax.dot_general(rows, gradient, ((axes, axes), ((), ())), preferred_element_type=kind)


def _weight_gradient(
    x: Array, gradient: Array, *, shape: tuple[int, ...], strides: tuple[int, int], padding: Pairs
) -> Array:
    """The kernel's gradient as products of shifted inputs with the output's gradient."""
    seen = _shifted(x, shape[:2], strides, padding, gradient.shape[1:3])
    if shape[2] <= JOINED_CHANNELS:
        sums = _sum_of_products(jnp.concatenate(seen, axis=-1), gradient)
    else:
        sums = jnp.stack([_sum_of_products(part, gradient) for part in seen])
    return sums.reshape(shape).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs) -> Array:
    return _plain(x, kernel, strides, padding)


def _forward(x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs) -> tuple[Array, tuple]:
    return _plain(x, kernel, strides, padding), (x, kernel)


def _backward(strides: tuple[int, int], padding: Pairs, kept: tuple, gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept

    def xla(x: Array, gradient: Array) -> Array:
        return jax.linear_transpose(lambda k: _plain(x, k, strides, padding), kernel)(gradient)[0]

    def as_kernel(x: Array, gradient: Array) -> Array:
        # cuDNN's result has the output channels first. Left so, XLA computes the optimiser's update in that order and
        # copies kernel and momentum back; this way the gradient alone, of 16 bits, is transposed.
        return with_layout_constraint(xla(x, gradient), Layout((0, 1, 2, 3)))

    shifted = partial(_weight_gradient, shape=kernel.shape, strides=strides, padding=padding)
    (to_x,) = jax.linear_transpose(lambda x: _plain(x, kernel, strides, padding), x)(gradient)
    return to_x, jax.lax.platform_dependent(x, gradient, cpu=shifted, cuda=as_kernel, default=xla)


_convolve.defvjp(_forward, _backward)


def varying_alike(kernel: Array, x: Array) -> Array:
    """The kernel, told to vary over the axes of `shard_map` that `x` varies over.

    Its gradient is then summed over the devices outside the hand-written derivative, as that of any product is.
    """
    missing = tuple(sorted(varying_axes(x) - varying_axes(kernel)))
    return jax.lax.pcast(kernel, missing, to='varying') if missing else kernel


def convolve(
    x: Float[Array, 'batch height width channels'],
    kernel: Float[Array, 'rows columns channels out'],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Pairs = ((0, 0), (0, 0)),
) -> Float[Array, 'batch rows_out columns_out out']:
    """2-D convolution (cross-correlation, as deep learning has it) whose weight gradient suits the backend.

    Args:
      x, kernel: of one floating type.
      strides: step between outputs along rows and columns.
      padding: zeros before and after the rows, and the columns.

    Reverse-mode differentiation only: `jax.jvp` and what is built on it, such as `jax.hessian`, is refused by jax.
    """
    return _convolve(x, varying_alike(kernel, x), strides, padding)


class Conv(nn.Module):
    """A 2-D convolution with the parameters of `flax.linen.Conv`: `kernel`, and `bias` if wanted.

    Attributes:
      features: output channels.
      kernel_size, strides: along rows and columns.
      padding: zeros before and after the rows, and the columns.
      use_bias: whether there is a bias.
      kernel_init: initialiser of the kernel.
      dtype: compute type; parameters stay float32.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Pairs = ((0, 0), (0, 0))
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch height width channels']
    ) -> Float[Array, 'batch rows_out columns_out features']:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (self.features,), jnp.float32) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolve(x, kernel, strides=self.strides, padding=self.padding)
        return y if bias is None else y + bias.reshape(1, 1, 1, -1)
