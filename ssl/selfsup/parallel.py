"""Meshes for `jit`, and the one gather for code bases built on `pmap` or `shard_map`.

Under `jit` the step sees the global batch, sharded over the mesh's `data` axis, and XLA inserts every
collective. Under `pmap` or `shard_map` a method built with `axis_name` gathers its outputs here, so
that each device computes the global loss; callers `pmean` the gradients (under `shard_map`'s default
check they are already summed, and the mean of equal values changes nothing).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

DATA_AXIS = 'data'
# Batch entries that hold one row per example and so must be gathered with the outputs.
PER_EXAMPLE_KEYS = ('index', 'label', 'view_params')


def data_mesh(devices: int | None = None) -> Mesh:
    """A one-axis mesh over all devices of all processes, or over the first `devices`."""
    chosen = jax.devices()[:devices]
    # Explicit axes, the default, refuse z @ z.T on a batch-sharded z; Auto lets XLA decide.
    auto = (AxisType.Auto,)
    if jax.process_count() == 1:
        return jax.make_mesh((len(chosen),), (DATA_AXIS,), axis_types=auto, devices=chosen)
    # Each process feeds consecutive rows of the batch, so its devices must stand together; on a pod `make_mesh` and
    # the devices' numbers follow the wiring.
    chosen.sort(key=lambda device: (device.process_index, device.id))
    return Mesh(np.asarray(chosen), (DATA_AXIS,), axis_types=auto)


def replicated(mesh: Mesh) -> NamedSharding:
    """One whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """Rows spread over the data axis."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def state_sharding(mesh: Mesh, tree: Any) -> Any:
    """Shardings for a state: what stands under a key `per_example` by rows, if they divide, the rest replicated."""

    def place(path: tuple, leaf: Any) -> NamedSharding:
        by_row = any(getattr(p, 'key', None) == 'per_example' for p in path) and leaf.shape[0] % mesh.size == 0
        return sharded(mesh) if by_row else replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, tree)


def constrain_batch(tree: Any, mesh: Mesh | None) -> Any:
    """Inside `jit`: asks that every array of `tree` be sharded by rows over the mesh."""
    if mesh is None or mesh.size == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, sharded(mesh))


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
        kind: Any = jax.typeof(x)  # jax calls the axes over which a value varies by different names
        axes = kind.manual_axis_type.varying if hasattr(kind, 'manual_axis_type') else getattr(kind, 'vma', ())
        varies = axis_name in axes
        return jax.lax.pmax(jax.lax.stop_gradient(x), axis_name) if varies else x

    return jax.tree.map(settle, tree)


def over_axis(method: Any, axis_name: str | None) -> Any:
    """`method` for use inside `pmap` or `shard_map`: its criterion sees gathered outputs.

    The loss is averaged over the axis inside the differentiated function: every device holds the same
    value, and the average's transpose is what makes each device's gradient its share of the true one.
    """
    if axis_name is None:
        return method

    def criterion(params: Any, outputs: Any, extra: Any, batch: Any, key: Any) -> tuple:
        whole = {k: gather(v, axis_name) if k in PER_EXAMPLE_KEYS else v for k, v in batch.items()}
        loss, (extra, metrics) = method.criterion(params, gather(outputs, axis_name), extra, whole, key)
        mean = jax.tree.map(lambda x: jax.lax.pmean(x, axis_name), (loss, metrics))
        return mean[0], (_settled(extra, axis_name), mean[1])

    return method._replace(criterion=criterion)


def as_host(tree: Any) -> Any:
    """Arrays of a metrics tree as Python floats (this waits for the device)."""
    return jax.tree.map(lambda x: float(jnp.asarray(x)), jax.device_get(tree))
