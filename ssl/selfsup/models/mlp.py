"""The multi-layer heads of the papers: projectors and predictors."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..signature import Counts, Domain
from .iternorm import IterNorm
from .norm import BatchNorm
from .taps import Tap

# Channels that IterNorm whitens together at the end of a projector, as solo-learn has it at 2048.
ITERNORM_WIDTH = 32
LAST_NORMS = ('none', 'plain', 'scale', 'affine', 'iterative')
# Of a leaky ReLU the slope below 0 is 0.01, torch's.
ACTIVATIONS = {'relu': nn.relu, 'gelu': partial(nn.gelu, approximate=False), 'leaky_relu': nn.leaky_relu}


def dense(x: Array, width: int, *, bias: bool, name: str, dtype: Any) -> Array:
    """A linear layer with torch's default initialisation, U(±1/√fan_in) for weights and bias.

    Call inside a compact module.
    """
    bound = x.shape[-1] ** -0.5

    def uniform(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nn.Dense(width, use_bias=bias, kernel_init=uniform, bias_init=uniform, name=name, dtype=dtype)(x)


class MLP(nn.Module):
    """Linear layers with activation between them, and batch-norm where the paper has it.

    Attributes:
      widths: output width of each layer; the last is the embedding's.
      hidden_norm: batch-norm after every layer but the last.
      last_norm: batch-norm after the last layer: 'none', 'plain' (no γ, β), 'scale' (γ only), 'affine';
        or 'iterative', :class:`IterNorm` in groups of at most 32 channels (VIbCReg).
      hidden_bias, last_bias: whether those linear layers have a bias.
      activation: 'relu', 'gelu' (exact) or 'leaky_relu', after every layer but the last.
      groups, views, axis_name: as in :class:`BatchNorm`; the iterative one knows no groups.
      dtype: compute type; parameters stay float32.
    """

    widths: Counts
    hidden_norm: bool = True
    last_norm: Annotated[str, Domain(str, choices=LAST_NORMS)] = 'none'
    hidden_bias: bool = True
    last_bias: bool = True
    activation: Annotated[str, Domain(str, choices=tuple(ACTIVATIONS))] = 'relu'
    groups: int = 1
    views: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the hidden layers' outputs (:mod:`selfsup.models.taps`)."""
        return tuple(f'layer{index}' for index in range(len(self.widths) - 1))

    @nn.compact
    def __call__(self, x: Float[Array, 'batch dim'], train: bool = False) -> Float[Array, 'batch out']:
        if self.last_norm not in LAST_NORMS:
            raise ValueError(f'last_norm must be one of {", ".join(LAST_NORMS)}, not {self.last_norm!r}')
        if self.activation not in ACTIVATIONS:
            raise ValueError(f'activation must be one of {", ".join(ACTIVATIONS)}, not {self.activation!r}')
        activate = ACTIVATIONS[self.activation]
        norm = partial(BatchNorm, groups=self.groups, views=self.views, axis_name=self.axis_name)
        for index, width in enumerate(self.widths[:-1]):
            x = dense(x, width, bias=self.hidden_bias, name=f'linear{index}', dtype=self.dtype)
            if self.hidden_norm:
                x = norm(name=f'norm{index}')(x, train)
            x = Tap(name=f'layer{index}')(activate(x))
        last = len(self.widths) - 1
        x = dense(x, self.widths[-1], bias=self.last_bias, name=f'linear{last}', dtype=self.dtype)
        if self.last_norm == 'iterative':
            groups = max(self.widths[-1] // ITERNORM_WIDTH, 1)
            x = IterNorm(groups=groups, views=self.views, axis_name=self.axis_name, name=f'norm{last}')(x, train)
        elif self.last_norm != 'none':
            affine = {'use_scale': self.last_norm != 'plain', 'use_bias': self.last_norm == 'affine'}
            x = norm(**affine, name=f'norm{last}')(x, train)
        return x
