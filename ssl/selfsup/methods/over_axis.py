"""Methods for code bases built on `pmap` or `shard_map`: the one gather.

Under `jit` the step sees the global batch and XLA inserts every collective. Under `pmap` or `shard_map` a method
that :func:`over_axis` wraps gathers its outputs here, so that each device computes the global loss; callers `pmean`
the gradients (under `shard_map`'s default check they are already summed, and the mean of equal values changes nothing).
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from ..parallel import varying_axes
from .base import Method

# Batch entries that hold one row per example and so must be gathered with the outputs.
PER_EXAMPLE_KEYS = ('index', 'label', 'view_params')


def gather(tree: Any, axis_name: str | None) -> Any:
    """Every device's rows, in the order of the devices; the identity without an axis."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), tree)


def local_rows(x: Array, axis_name: str | None) -> Array:
    """This device's share of the rows of a global array that every device holds."""
    if axis_name is None:
        return x
    rows = x.shape[0] // jax.lax.psum(1, axis_name)
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis_name) * rows, rows)


def global_size(rows: int, axis_name: str | None) -> int:
    """Rows of the global batch, given one device's."""
    return rows if axis_name is None else rows * jax.lax.psum(1, axis_name)


def _settled(tree: Any, axis_name: str) -> Any:
    """`tree` in a form that `shard_map`'s check knows to be equal on every device.

    What enters a queue or a memory has been gathered and so is equal everywhere, but the check takes
    it for varying; the maximum of equal values says so without changing a bit. Without the check
    nothing is done. (Here every device holds `per_example` arrays whole; under `jit` they are spread.)
    """

    def settle(x: Any) -> Any:
        return jax.lax.pmax(jax.lax.stop_gradient(x), axis_name) if axis_name in varying_axes(x) else x

    return jax.tree.map(settle, tree)


def over_axis(constructor: Callable[..., Method], axis_name: str) -> Callable[..., Method]:
    """A method's constructor for use inside `pmap` or `shard_map` over `axis_name`.

    Batch-norm of the networks synchronises over the axis in `embed`. The criterion sees gathered outputs, and networks
    that it runs itself have the whole batch on every device, so they do not. The loss is averaged
    over the axis inside the differentiated function: every device holds the same value, and the average's transpose
    is what makes each device's gradient its part of the true one.
    """

    def construct(*networks: Any, **keywords: Any) -> Method:
        own = [n.clone(axis_name=axis_name) if hasattr(n, 'axis_name') else n for n in networks]
        method, whole_batch = constructor(*own, **keywords), constructor(*networks, **keywords).criterion

        def criterion(params: Any, outputs: Any, extra: Any, batch: Any, key: Any) -> tuple:
            whole = {k: gather(v, axis_name) if k in PER_EXAMPLE_KEYS else v for k, v in batch.items() if k != 'keys'}
            loss, (extra, metrics) = whole_batch(params, gather(outputs, axis_name), extra, whole, key)
            mean = jax.tree.map(lambda x: jax.lax.pmean(x, axis_name), (loss, metrics))
            return mean[0], (_settled(extra, axis_name), mean[1])

        return method._replace(criterion=criterion)

    return construct
