"""A small convolutional network for 8×8 digits and other tiny images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .norm import BatchNorm

conv_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class ConvNet(nn.Module):
    """3×3 convolution, batch-norm and ReLU per width, halving the map after the first, then the mean.

    Attributes:
      widths: channels of each layer; the last is the feature width.
      groups, axis_name: of the batch-norms, see :class:`BatchNorm`.
      dtype: compute type; parameters stay float32.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    groups: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, 'batch height width channels'],
        train: bool = False,
        order: Int[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch features']:
        x = images
        for index, width in enumerate(self.widths):
            stride = 1 if index == 0 else 2
            x = nn.Conv(
                width,
                (3, 3),
                strides=(stride, stride),
                padding=((1, 1), (1, 1)),
                use_bias=False,
                kernel_init=conv_init,
                dtype=self.dtype,
                name=f'conv{index}',
            )(x)
            x = BatchNorm(groups=self.groups, axis_name=self.axis_name, name=f'norm{index}')(x, train, order)
            x = nn.relu(x)
        return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))
