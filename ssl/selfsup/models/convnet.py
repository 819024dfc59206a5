"""A small convolutional network for 8×8 digits and other tiny images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..signature import Count, Counts
from .norm import BatchNorm

conv_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class PatchConv(nn.Module):
    """A 3×3 convolution with padding 1, written as nine shifted slices and one matrix product.

    At these sizes it is faster on a CPU than XLA's convolution (its gradient by a fifth over the whole
    network), and nowhere slow. The kernel has the layout of `flax.linen.Conv`.
    """

    width: int
    stride: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, height, width, channels = x.shape
        kernel = self.param('kernel', conv_init, (3, 3, channels, self.width), jnp.float32)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        slices = [
            x[
                :,
                i : i + (rows - 1) * self.stride + 1 : self.stride,
                j : j + (columns - 1) * self.stride + 1 : self.stride,
            ]
            for i in range(3)
            for j in range(3)
        ]
        patches = jnp.concatenate(slices, axis=-1).reshape(-1, 9 * channels)
        return (patches @ kernel.reshape(9 * channels, -1)).reshape(batch, rows, columns, -1)


class ConvNet(nn.Module):
    """3×3 convolution, batch-norm and ReLU per width, each but the first halving the map, then the mean.

    Attributes:
      widths: channels of each layer; the last is the feature width.
      first_stride: stride of the first layer; 2 for images of 32 pixels.
      maps: give the last feature map `[batch, rows, columns, features]` instead of its mean.
      groups, axis_name: of the batch-norms, see :class:`BatchNorm`.
      dtype: compute type; parameters stay float32.
    """

    widths: Counts = (32, 64, 128)
    first_stride: Count = 1
    maps: bool = False
    groups: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, 'batch height width channels'],
        train: bool = False,
        order: Int[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch features'] | Float[Array, 'batch rows columns features']:
        x = images
        for index, width in enumerate(self.widths):
            stride = self.first_stride if index == 0 else 2
            x = PatchConv(width, stride, dtype=self.dtype, name=f'conv{index}')(x)
            x = BatchNorm(groups=self.groups, axis_name=self.axis_name, name=f'norm{index}')(x, train, order)
            x = nn.relu(x)
        return x if self.maps else jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))
