"""Batch normalisation with what flax's lacks: an exact variance in one pass, groups and views of a batch, an axis."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .convolution import varying_alike

HIGHEST = jax.lax.Precision.HIGHEST


def move_average(running: Any, new: Array, momentum: float) -> None:
    """Moves a running average of `batch_stats`, of which the share `momentum` is kept; no gradient."""
    kept = momentum * running.value
    running.value = kept + (1 - momentum) * jax.lax.stop_gradient(new).astype(kept.dtype)


def _wide(x: Array) -> Array:
    """At least float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _row_moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each row's own values, `[rows, channels]` each, in one pass over `x`.

    The values are taken relative to the row's middle one, so that a mean far from 0 costs no digits
    (Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115, section 3).
    """
    if x.ndim == 2:
        return _wide(x), jnp.zeros_like(_wide(x))
    axes = tuple(range(1, x.ndim - 1))
    middle = _wide(x[(slice(None), *(slice(size // 2, size // 2 + 1) for size in x.shape[1:-1]))])
    shifted = _wide(x) - middle
    mean = jnp.mean(shifted, axis=axes)
    variance = jnp.mean(shifted * shifted, axis=axes) - mean * mean
    return middle.reshape(mean.shape) + mean, jnp.maximum(variance, 0.0)


def _segment_mean(values: Array, membership: Array | None, axis_name: str | None) -> Array:
    """Mean over the rows of each segment, on all devices: `[rows, channels]` to `[segments, channels]`."""
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    if membership is None:
        total, segments = jnp.sum(values, axis=0, keepdims=True), 1
    else:
        total, segments = jnp.matmul(membership.T, values, precision=HIGHEST), membership.shape[1]
    total = total if axis_name is None else jax.lax.psum(total, axis_name)
    return total / (values.shape[0] * devices // segments)


def _spread(per_segment: Array, membership: Array | None, dimensions: int) -> Array:
    """Each row's value of its segment, `[rows or 1, 1, …, channels]` with so many dimensions."""
    rows = per_segment if membership is None else jnp.matmul(membership, per_segment, precision=HIGHEST)
    return rows.reshape(rows.shape[0], *(1,) * (dimensions - 2), -1)


def _spatial_mean(x: Array) -> Array:
    """Mean of each row's own values, `[rows, channels]`."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _normalise(
    x: Array,
    scale: Array | None,
    bias: Array | None,
    membership: Array | None,
    epsilon: float,
    axis_name: str | None,
    dtype: Any,
) -> tuple[Array, Array, Array]:
    """γ·(x − µ)/√(σ² + ε) + β by each segment's own statistics; and µ and σ², `[segments, channels]`, no gradient.

    Args:
      x: `[rows, …, channels]`.
      scale, bias: γ and β, `[channels]`, or None for 1 and 0.
      membership: one-hot segment of each row, `[rows, segments]`, equally many rows each; None for one segment.
      epsilon, axis_name, dtype: as in :class:`BatchNorm`.
    """
    return _forward(x, scale, bias, membership, epsilon, axis_name, dtype)[0]


def _forward(
    x: Array, scale: Any, bias: Any, membership: Any, epsilon: float, axis_name: Any, dtype: Any
) -> tuple[tuple[Array, Array, Array], tuple]:
    row_mean, row_variance = _row_moments(x)
    mean = _segment_mean(row_mean, membership, axis_name)
    deviation = row_mean - _spread(mean, membership, 2)
    variance = _segment_mean(row_variance + deviation * deviation, membership, axis_name)
    inverse = jax.lax.rsqrt(variance + epsilon)
    factor = inverse if scale is None else inverse * scale[None].astype(inverse.dtype)
    y = (_wide(x) - _spread(mean, membership, x.ndim)) * _spread(factor, membership, x.ndim)
    if bias is not None:
        y = y + bias.astype(y.dtype).reshape(*(1,) * (x.ndim - 1), -1)
    return (y.astype(dtype), mean, variance), (x, scale, bias, membership, mean, inverse)


def _backward(epsilon: float, axis_name: Any, dtype: Any, kept: tuple, cotangents: tuple) -> tuple:
    """One pass over gradient and input for both sums, one for the input's gradient (Ioffe and Szegedy 2015, sect. 3).

    The means over a segment are sums over devices, since each device's loss counts.
    """
    x, scale, bias, membership, mean, inverse = kept
    gradient = cotangents[0].astype(mean.dtype)
    centred = _wide(x) - _spread(mean, membership, x.ndim)
    sums, products = _spatial_mean(gradient), _spatial_mean(gradient * centred)
    of_mean = _segment_mean(sums, membership, axis_name)
    of_scale = _segment_mean(products, membership, axis_name) * inverse * inverse
    factor = inverse if scale is None else inverse * scale[None].astype(inverse.dtype)
    to_x = (gradient - _spread(of_mean, membership, x.ndim)) - centred * _spread(of_scale, membership, x.ndim)
    to_x = (to_x * _spread(factor, membership, x.ndim)).astype(x.dtype)
    count = x.size // (x.shape[0] * x.shape[-1])
    to_scale = jnp.sum(products * _spread(inverse, membership, 2), axis=0) * count
    to_scale = None if scale is None else to_scale.astype(scale.dtype)
    to_bias = None if bias is None else (jnp.sum(sums, axis=0) * count).astype(bias.dtype)
    return to_x, to_scale, to_bias, None


_normalise.defvjp(_forward, _backward)


def _membership(rows: int, groups: int, views: int, order: Array | None, axis_name: str | None) -> Array | None:
    """Segment of each row, one-hot `[rows, views · groups]`: its view, and within that its group.

    Views stand side by side, example by example. A group is every example whose place in the (shuffled) global batch
    falls into the same G-th of it, so the result depends neither on the number of devices nor on where it is stored.
    """
    if groups == views == 1:
        return None
    local = rows // views
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    size, remainder = divmod(local * devices, groups)
    if remainder or size < 1:
        raise ValueError(f'a batch of {local * devices} cannot be cut into {groups} batch-norm groups')
    if order is None:
        order = jnp.arange(local)
        if groups > 1 and axis_name is not None:
            order = order + jax.lax.axis_index(axis_name) * local
    group = order // size if groups > 1 else jnp.zeros_like(order)
    segment = jnp.arange(views)[None] * groups + group[:, None]
    return jax.nn.one_hot(segment.reshape(-1), views * groups, dtype=jnp.float32)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, statistics in float32 (float64 stays).

    Mean and variance are those of a two-pass computation with one pass over the input (:func:`_row_moments`): the
    one-pass form E[x²] − E[x]² loses digits, and a ResNet's gradient on 8 devices then differs from one device's by
    7e-3 instead of 5e-4. The derivative is written by hand; reverse mode only.
    It normalises with the biased variance and, as torch, keeps the unbiased one in the running average.

    Attributes:
      momentum: share of the old running average kept at each step (torch's 0.1 is 0.9 here).
      epsilon: ε inside the root.
      use_scale, use_bias: the learned γ and β.
      scale_init: initialiser of γ (zeros for the last norm of a residual branch, if wanted).
      groups: the batch is normalised in this many groups of consecutive examples of the global batch,
        as per-device batch-norm on that many devices would; MoCo's shuffled keys need it.
      views: so many views of each example stand side by side in the batch. Each view has its own statistics and
        moves the running averages in turn, as if the views came one after the other.
      axis_name: axis of `pmap` or `shard_map` over which the global batch is spread; None under `jit`.
      dtype: type of the result; by default the input's.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True
    scale_init: Any = nn.initializers.ones
    groups: int = 1
    views: int = 1
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch *spatial channels'], train: bool, order: Int[Array, ' batch'] | None = None
    ) -> Float[Array, 'batch *spatial channels']:
        """Normalises by batch statistics if `train`, else by the running ones.

        `order` gives each example's place in a shuffled global batch, which decides its group:
        shuffling the places is the same as shuffling the images, and moves none between devices.
        """
        dtype, channels = self.dtype or x.dtype, x.shape[-1]
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)
        scale = self.param('scale', self.scale_init, (channels,), jnp.float32) if self.use_scale else None
        bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32) if self.use_bias else None
        if not train:
            return self._by_running_averages(x, running_mean.value, running_var.value, scale, bias).astype(dtype)
        started = not self.is_initializing()
        axis_name = self.axis_name if started else None
        groups, views = (self.groups, self.views) if started else (1, 1)
        membership = _membership(x.shape[0], groups, views, order, axis_name)
        membership = None if membership is None else membership.astype(_wide(x).dtype)
        scale, bias = (None if v is None else varying_alike(v, x) for v in (scale, bias))
        y, mean, variance = _normalise(x, scale, bias, membership, self.epsilon, axis_name, dtype)
        if started:
            for view in range(views):
                part = slice(view * groups, (view + 1) * groups)
                average, average_var = jnp.mean(mean[part], axis=0), jnp.mean(variance[part], axis=0)
                count = x.size // channels // groups // views
                self._update(running_mean, running_var, average, average_var, count)
        return y

    def _by_running_averages(self, x: Array, mean: Array, variance: Array, scale: Any, bias: Any) -> Array:
        """Normalised by what training has left."""
        x = _wide(x)

        def shaped(v: Array) -> Array:
            return v.astype(x.dtype).reshape(*(1,) * (x.ndim - 1), -1)

        y = (x - shaped(mean)) * jax.lax.rsqrt(shaped(variance) + self.epsilon)
        y = y if scale is None else y * shaped(scale)
        return y if bias is None else y + shaped(bias)

    def _update(self, running_mean: Any, running_var: Any, mean: Array, variance: Array, count: int) -> None:
        """Moves the running averages; `count` values stood behind each local statistic."""
        if self.axis_name is not None:
            count = count * jax.lax.psum(1, self.axis_name)
        unbiased = variance * (count / max(count - 1, 1))
        for running, new in ((running_mean, mean), (running_var, unbiased)):
            move_average(running, new, self.momentum)
