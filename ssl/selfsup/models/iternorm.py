"""Iterative normalisation: whitening by Newton's iteration, as batch-norm is standardising."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .norm import move_average

HIGHEST = jax.lax.Precision.HIGHEST


class IterNorm(nn.Module):
    """Whitens groups of neighbouring channels: x̂ = Σ^{−1/2}(x − µ), then γ and β.

    Σ^{−1/2} is approximated by Newton's iteration P ← (3P − P³Σ/tr Σ) / 2 from P = I, so no eigenvalues
    are needed. It computes in float32 (float64 stays) and keeps running averages of µ and Σ^{−1/2} for
    evaluation.

    Attributes:
      groups: number of groups of channels that are whitened apart; must divide the channels.
      iterations: Newton steps; few of them whiten only partly. Authors: 5.
      epsilon: added to the diagonal of Σ.
      momentum: share of the old running average kept at each step.
      views: as in :class:`BatchNorm`.
      axis_name: axis of `pmap` or `shard_map` over which the global batch is spread; None under `jit`.

    References:
      Huang et al. 2019, https://arxiv.org/abs/1904.03441, algorithm 1.
    """

    groups: int = 64
    iterations: int = 5
    epsilon: float = 1e-5
    momentum: float = 0.9
    views: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'batch channels'], train: bool) -> Float[Array, 'batch channels']:
        dtype, channels = self.dtype or x.dtype, x.shape[-1]
        width, remainder = divmod(channels, self.groups)
        if remainder:
            raise ValueError(f'{channels} channels cannot be cut into {self.groups} groups')
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(-1, self.groups, width)
        mean_shape, root_shape = (self.groups, width), (self.groups, width, width)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, mean_shape, jnp.float32)
        running_root = self.variable(
            'batch_stats', 'root', lambda: jnp.broadcast_to(jnp.eye(width, dtype=jnp.float32)[None], root_shape)
        )
        if train:
            parts = []
            for view in range(1 if self.is_initializing() else self.views):
                centred, mean, root = self._whitened(x[view :: self.views])
                parts.append(jnp.einsum('bgc,gcd->bgd', centred, root, precision=HIGHEST))
                if not self.is_initializing():
                    for running, new in ((running_mean, mean), (running_root, root)):
                        move_average(running, new, self.momentum)
            y = jnp.stack(parts, axis=1).reshape(-1, channels)
        else:
            mean, root = running_mean.value.astype(x.dtype), running_root.value.astype(x.dtype)
            y = jnp.einsum('bgc,gcd->bgd', x - mean[None], root, precision=HIGHEST).reshape(-1, channels)
        scale = self.param('scale', nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
        return (y * scale[None] + bias[None]).astype(dtype)

    def _whitened(self, x: Array) -> tuple[Array, Array, Array]:
        """Centred x, µ and Σ^{−1/2} of one view, `[batch, groups, width]`."""
        width = x.shape[-1]
        eye = jnp.eye(width, dtype=x.dtype)[None]
        sync = self.axis_name is not None and not self.is_initializing()
        average = (lambda v: jax.lax.pmean(v, self.axis_name)) if sync else (lambda v: v)
        mean = average(jnp.mean(x, axis=0))
        centred = x - mean[None]
        covariance = average(jnp.einsum('bgc,bgd->gcd', centred, centred, precision=HIGHEST) / x.shape[0])
        covariance = covariance + self.epsilon * eye
        trace = jnp.trace(covariance, axis1=-2, axis2=-1)[:, None, None]
        root = jnp.broadcast_to(eye, (self.groups, width, width))
        for _ in range(self.iterations):
            cube = jnp.matmul(jnp.matmul(root, root, precision=HIGHEST), root, precision=HIGHEST)
            root = 1.5 * root - 0.5 * jnp.matmul(cube, covariance / trace, precision=HIGHEST)
        return centred, mean, root * jax.lax.rsqrt(trace)
