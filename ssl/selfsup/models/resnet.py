"""ResNet-18, -34 and -50 as torchvision builds them, with ImageNet and CIFAR stems."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..signature import Count, Counts, Domain
from .convolution import Conv, conv_init
from .norm import BatchNorm
from .taps import Tap


@jax.custom_vjp
def relu_of_sum(x: Array, y: Array) -> Array:
    """max(x + y, 0), whose derivative reads the result, which the next layer keeps anyway, and neither summand."""
    return nn.relu(x + y)


def _relu_forward(x: Array, y: Array) -> tuple[Array, Array]:
    out = relu_of_sum(x, y)
    return out, out


def _relu_backward(out: Array, gradient: Array) -> tuple[Array, Array]:
    passed = jnp.where(out > 0, gradient, jnp.zeros_like(gradient))
    return passed, passed


relu_of_sum.defvjp(_relu_forward, _relu_backward)


class Block(nn.Module):
    """A basic (two 3×3) or bottleneck (1×1, 3×3, 1×1, four times as wide) residual block."""

    width: int
    stride: int
    bottleneck: bool
    zero_init_residual: bool
    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: Array, train: bool, order: Array | None) -> Array:
        out = self.width * (4 if self.bottleneck else 1)
        kernels = (1, 3, 1) if self.bottleneck else (3, 3)
        widths = (self.width, self.width, out) if self.bottleneck else (self.width, self.width)
        strided = 1 if self.bottleneck else 0
        y = x
        for index, (kernel, width) in enumerate(zip(kernels, widths, strict=True), 1):
            stride = self.stride if index - 1 == strided else 1
            y = self.conv(width, kernel, stride, name=f'conv{index}')(y)
            last = index == len(kernels)
            zero = nn.initializers.zeros if last and self.zero_init_residual else nn.initializers.ones
            y = self.norm(scale_init=zero, name=f'bn{index}')(y, train, order)
            if not last:
                y = nn.relu(y)
        if x.shape != y.shape:
            x = self.conv(out, 1, self.stride, name='downsample_conv')(x)
            x = self.norm(name='downsample_bn')(x, train, order)
        return relu_of_sum(x, y)


def _conv(width: int, kernel: int, stride: int, *, name: str, dtype: Any, padding: int | None = None) -> Conv:
    """A convolution padded as torch pads it, symmetrically (flax's SAME is lopsided at stride 2)."""
    pad = kernel // 2 if padding is None else padding
    return Conv(
        width,
        (kernel, kernel),
        strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        use_bias=False,
        kernel_init=conv_init,
        dtype=dtype,
        name=name,
    )


STEMS = ('imagenet', 'cifar', 'cifar_pad2')


class ResNet(nn.Module):
    """A residual network whose output is the mean over the last feature map.

    Attributes:
      stages: blocks per stage: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34 and ResNet-50.
      bottleneck: bottleneck blocks (ResNet-50) or basic ones.
      width: channels of the first stage; 64 in the papers.
      stem: 'imagenet' (7×7 stride 2, max-pool), 'cifar' (3×3, padding 1, no pool) or 'cifar_pad2'
        (3×3 with padding 2, as solo-learn has it: a 32×32 image gives a 34×34 map).
      zero_init_residual: γ of each block's last norm starts at 0.
      maps: give the last feature map `[batch, rows, columns, features]` instead of its mean.
      remat: keep only the blocks' inputs for the backward pass and run each block twice.
      groups, views, axis_name: of the batch-norms, see :class:`BatchNorm`.
      dtype: compute type; parameters and batch-norm statistics stay float32.

    References:
      He et al. 2016, https://arxiv.org/abs/1512.03385; stride on the 3×3 as torchvision.
    """

    stages: Counts
    bottleneck: bool = False
    width: Count = 64
    stem: Annotated[str, Domain(str, choices=STEMS)] = 'imagenet'
    zero_init_residual: bool = False
    maps: bool = False
    remat: bool = False
    groups: int = 1
    views: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stem and the blocks, in their order (:mod:`selfsup.models.taps`)."""
        blocks = (f'layer{stage + 1}_{index}' for stage, count in enumerate(self.stages) for index in range(count))
        return ('stem', *blocks)

    @nn.compact
    def __call__(
        self,
        images: Float[Array, 'batch height width channels'],
        train: bool = False,
        order: Int[Array, ' batch'] | None = None,
    ) -> Float[Array, 'batch features'] | Float[Array, 'batch rows columns features']:
        if self.stem not in STEMS:
            raise ValueError(f'stem must be one of {", ".join(STEMS)}, not {self.stem!r}')
        norm = partial(BatchNorm, groups=self.groups, views=self.views, axis_name=self.axis_name, dtype=self.dtype)
        conv = partial(_conv, dtype=self.dtype)
        if self.stem == 'imagenet':
            x = conv(self.width, 7, 2, name='conv1')(images)
        else:
            x = conv(self.width, 3, 1, name='conv1', padding=2 if self.stem == 'cifar_pad2' else 1)(images)
        x = nn.relu(norm(name='bn1')(x, train, order))
        if self.stem == 'imagenet':
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        x = Tap(name='stem')(x)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for stage, blocks in enumerate(self.stages):
            for index in range(blocks):
                x = block(
                    width=self.width * 2**stage,
                    stride=2 if stage > 0 and index == 0 else 1,
                    bottleneck=self.bottleneck,
                    zero_init_residual=self.zero_init_residual,
                    norm=norm,
                    conv=conv,
                    name=f'layer{stage + 1}_{index}',
                )(x, train, order)
        return x if self.maps else jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


resnet18 = partial(ResNet, stages=(2, 2, 2, 2))
resnet34 = partial(ResNet, stages=(3, 4, 6, 3))
resnet50 = partial(ResNet, stages=(3, 4, 6, 3), bottleneck=True)
