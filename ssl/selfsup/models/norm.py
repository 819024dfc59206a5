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


def _count(rows: int, segments: Array | int, axis_name: str | None) -> int:
    """Rows of each segment, on all devices."""
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    return rows * devices // (segments if isinstance(segments, int) else segments.shape[1])


def _shares(values: Array, segments: Array | int, axis_name: str | None) -> Array:
    """What the rows of this device add to the mean of each segment: `[rows, channels]` to `[segments, channels]`."""
    values = values / _count(values.shape[0], segments, axis_name)
    if isinstance(segments, int):  # unlike a product, a compiler puts this into the kernels beside it
        return jnp.sum(values.reshape(-1, segments, values.shape[-1]), axis=0)
    return jnp.matmul(segments.T, values, precision=HIGHEST)


def _segment_mean(values: Array, segments: Array | int, axis_name: str | None) -> Array:
    """Mean over the rows of each segment, on all devices: `[rows, channels]` to `[segments, channels]`."""
    shares = _shares(values, segments, axis_name)
    return shares if axis_name is None else jax.lax.psum(shares, axis_name)


def _total(per_segment: Array) -> Array:
    """Sum over the segments; of two views as x + y, since of a sum of sums a compiler makes another pass."""
    return sum(per_segment) if len(per_segment) <= 2 else jnp.sum(per_segment, axis=0)


def _spread(per_segment: Array, segments: Array | int, x: Array) -> Array:
    """Each row's value of its segment, `[rows or 1, 1, …, channels]` with the dimensions of `x`."""
    if not isinstance(segments, int):
        rows = jnp.matmul(segments, per_segment, precision=HIGHEST)
    elif segments == 1:
        rows = per_segment
    else:
        rows = jnp.broadcast_to(per_segment[None], (x.shape[0] // segments, *per_segment.shape))
    return rows.reshape(-1, *(1,) * (x.ndim - 2), per_segment.shape[-1])


def _spatial_mean(x: Array) -> Array:
    """Mean of each row's own values, `[rows, channels]`."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def _normalise(
    x: Array,
    scale: Array | None,
    bias: Array | None,
    membership: Array | None,
    views: int,
    epsilon: float,
    axis_name: str | None,
    dtype: Any,
) -> tuple[Array, Array, Array]:
    """γ·(x − µ)/√(σ² + ε) + β by each segment's own statistics; and µ and σ², `[segments, channels]`, no gradient.

    Args:
      x: `[rows, …, channels]`.
      scale, bias: γ and β, `[channels]`, or None for 1 and 0.
      membership: one-hot segment of each row, `[rows, segments]`, equally many rows each; None where the segments are
        the views.
      views, epsilon, axis_name, dtype: as in :class:`BatchNorm`.
    """
    return _forward(x, scale, bias, membership, views, epsilon, axis_name, dtype)[0]


def _forward(
    x: Array, scale: Any, bias: Any, membership: Any, views: int, epsilon: float, axis_name: Any, dtype: Any
) -> tuple[tuple[Array, Array, Array], tuple]:
    segments = views if membership is None else membership
    row_mean, row_variance = _row_moments(x)
    mean = _segment_mean(row_mean, segments, axis_name)
    deviation = row_mean - _spread(mean, segments, row_mean)
    variance = _segment_mean(row_variance + deviation * deviation, segments, axis_name)
    inverse = jax.lax.rsqrt(variance + epsilon)
    factor = inverse if scale is None else inverse * scale[None].astype(inverse.dtype)
    y = (_wide(x) - _spread(mean, segments, x)) * _spread(factor, segments, x)
    if bias is not None:
        y = y + bias.astype(y.dtype).reshape(*(1,) * (x.ndim - 1), -1)
    return (y.astype(dtype), mean, variance), (x, scale, bias, membership, mean, inverse)


def _backward(views: int, epsilon: float, axis_name: Any, dtype: Any, kept: tuple, cotangents: tuple) -> tuple:
    """One pass over gradient and input for both sums, one for the input's gradient (Ioffe and Szegedy 2015, sect. 3).

    The means over a segment are sums over devices, since each device's loss counts.
    """
    x, scale, bias, membership, mean, inverse = kept
    segments = views if membership is None else membership
    gradient = cotangents[0].astype(mean.dtype)
    centred = _wide(x) - _spread(mean, segments, x)
    # Joined, so that a compiler computes both sums from one read of the rows' means.
    both = jnp.concatenate([_spatial_mean(gradient), _spatial_mean(gradient * centred)], axis=-1)
    own = _shares(both, segments, axis_name)
    own_mean, own_product = jnp.split(own, 2, axis=-1)
    of_mean, product = jnp.split(own if axis_name is None else jax.lax.psum(own, axis_name), 2, axis=-1)
    of_scale = product * inverse * inverse
    factor = inverse if scale is None else inverse * scale[None].astype(inverse.dtype)
    to_x = (gradient - _spread(of_mean, segments, x)) - centred * _spread(of_scale, segments, x)
    to_x = (to_x * _spread(factor, segments, x)).astype(x.dtype)
    count = _count(x.shape[0], segments, axis_name) * (x.size // (x.shape[0] * x.shape[-1]))
    to_scale = None if scale is None else (_total(own_product * inverse) * count).astype(scale.dtype)
    to_bias = None if bias is None else (_total(own_mean) * count).astype(bias.dtype)
    return to_x, to_scale, to_bias, None


_normalise.defvjp(_forward, _backward)


def _membership(rows: int, groups: int, views: int, order: Array | None, axis_name: str | None) -> Array | None:
    """Segment of each row, one-hot `[rows, views · groups]`: its view, and within that its group. None for one group.

    Views stand side by side, example by example. A group is every example whose place in the (shuffled) global batch
    falls into the same G-th of it, so the result depends neither on the number of devices nor on where it is stored.
    """
    if groups == 1:
        return None
    local = rows // views
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    size, remainder = divmod(local * devices, groups)
    if remainder or size < 1:
        raise ValueError(f'a batch of {local * devices} cannot be cut into {groups} batch-norm groups')
    if order is None:
        order = jnp.arange(local)
        if axis_name is not None:
            order = order + jax.lax.axis_index(axis_name) * local
    segment = jnp.arange(views)[None] * groups + (order // size)[:, None]
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
        y, mean, variance = _normalise(x, scale, bias, membership, views, self.epsilon, axis_name, dtype)
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
