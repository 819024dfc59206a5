"""Meshes and shardings: under `jit` the step sees the global batch, sharded over the mesh's `data` axis.

XLA inserts every collective. For code bases built on `pmap` or `shard_map` see :mod:`selfsup.methods.over_axis`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA_AXIS = 'data'


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


def as_host(tree: Any) -> Any:
    """Arrays of a metrics tree as Python floats (this waits for the device)."""
    return jax.tree.map(lambda x: float(jnp.asarray(x)), jax.device_get(tree))
