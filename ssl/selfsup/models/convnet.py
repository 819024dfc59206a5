"""A small convolutional network for 8×8 digits and other tiny images."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..signature import Count, Counts
from .convolution import Conv, conv_init
from .norm import BatchNorm
from .taps import Tap


class ConvNet(nn.Module):
    """3×3 convolution, batch-norm and ReLU per width, each but the first halving the map, then the mean.

    Attributes:
      widths: channels of each layer; the last is the feature width.
      first_stride: stride of the first layer; 2 for images of 32 pixels.
      maps: give the last feature map `[batch, rows, columns, features]` instead of its mean.
      groups, views, axis_name: of the batch-norms, see :class:`BatchNorm`.
      dtype: compute type; parameters stay float32.
    """

    widths: Counts = (32, 64, 128)
    first_stride: Count = 1
    maps: bool = False
    groups: int = 1
    views: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers' outputs (:mod:`selfsup.models.taps`)."""
        return tuple(f'layer{index}' for index in range(len(self.widths)))

    @nn.compact
    def __call__(
        self,
        images: Float[Array, 'batch height width channels'],
        train: bool = False,
        order: Int[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch features'] | Float[Array, 'batch rows columns features']:
        conv = partial(
            Conv, kernel_size=(3, 3), padding=((1, 1), (1, 1)), use_bias=False, kernel_init=conv_init, dtype=self.dtype
        )
        norm = partial(BatchNorm, groups=self.groups, views=self.views, axis_name=self.axis_name)
        x = images
        for index, width in enumerate(self.widths):
            stride = self.first_stride if index == 0 else 2
            x = conv(width, strides=(stride, stride), name=f'conv{index}')(x)
            x = norm(name=f'norm{index}')(x, train, order)
            x = Tap(name=f'layer{index}')(nn.relu(x))
        return x if self.maps else jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))
