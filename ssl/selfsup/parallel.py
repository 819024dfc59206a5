"""Meshes and shardings: under `jit` the step sees the global batch, sharded over the mesh's `data` axis.

XLA inserts every collective. For code bases built on `pmap` or `shard_map` see :mod:`selfsup.methods.over_axis`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
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


def varying_axes(value: Any) -> frozenset[str]:
    """The axes of `shard_map` over which a value differs between devices; none outside of it, or without its check."""
    kind: Any = jax.typeof(value)  # versions of jax have different names for them
    return frozenset(kind.manual_axis_type.varying if hasattr(kind, 'manual_axis_type') else getattr(kind, 'vma', ()))


def replicated(mesh: Mesh) -> NamedSharding:
    """One whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def sharded(mesh: Mesh) -> NamedSharding:
    """Rows spread over the data axis."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


# (pattern of a path, layout of its arrays): a PartitionSpec, or a function of the mesh and the array that gives one.
Rule = tuple[str, PartitionSpec | Callable[[Mesh, Any], PartitionSpec]]
# Arrays with one row per example of the data set (memories, DIET's head).
PER_EXAMPLE: Rule = (r'(^|/)per_example(/|$)', PartitionSpec(DATA_AXIS))
REPLICATED: tuple[Rule, ...] = (PER_EXAMPLE,)


def fsdp(least_bytes: int) -> tuple[Rule, ...]:
    """Rules of fully sharded data parallelism (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054, stage 3).

    Parameters, those of target networks and of the probe included, and the optimiser's state are spread over the data
    axis along their largest axis that divides; XLA gathers them where a layer needs them. Arrays below `least_bytes`
    stay whole: to gather them would cost more than their memory is worth.
    """

    def largest(mesh: Mesh, leaf: Any) -> PartitionSpec:
        devices = mesh.shape[DATA_AXIS]
        axes = [axis for axis, size in enumerate(leaf.shape) if size % devices == 0 and size > 0]
        if leaf.size * leaf.dtype.itemsize < least_bytes or not axes:
            return PartitionSpec()
        chosen = max(axes, key=lambda axis: leaf.shape[axis])
        return PartitionSpec(*[None] * chosen, DATA_AXIS)

    return (PER_EXAMPLE, (r'(^|/)(params|opt_state)(/|$)', largest))


def state_sharding(mesh: Mesh, tree: Any, rules: Sequence[Rule] = REPLICATED) -> Any:
    """Shardings for a state, leaf by leaf.

    Args:
      mesh: of the run.
      tree: arrays, or their shapes.
      rules: the first whose pattern is found in a leaf's path (`opt_state/0/mu/encoder/...`) decides. Without one, and
        where an axis does not divide, the leaf is replicated.
    """

    def place(path: tuple, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        spec = next((spec for pattern, spec in rules if re.search(pattern, name)), PartitionSpec())
        spec = spec if isinstance(spec, PartitionSpec) else spec(mesh, leaf)
        divides = len(spec) <= len(leaf.shape) and all(
            axis is None or size % mesh.shape[axis] == 0 for size, axis in zip(leaf.shape, spec, strict=False)
        )
        return NamedSharding(mesh, spec) if divides else replicated(mesh)

    return jax.tree_util.tree_map_with_path(place, tree)


def constrain_batch(tree: Any, mesh: Mesh | None) -> Any:
    """Inside `jit`: asks that every array of `tree` be sharded by rows over the mesh."""
    if mesh is None or mesh.size == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, sharded(mesh))
