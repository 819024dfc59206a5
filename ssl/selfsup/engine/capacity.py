"""Whether what a method keeps for each example fits the devices, before it is made."""

import math
import os
from typing import Any

import jax

from ..errors import UserError

GIB = 2**30


def room(device: Any) -> int:
    """Bytes that a device can hold, of the host for a CPU; 0 where that is not known."""
    known = (device.memory_stats() or {}).get('bytes_limit', 0) if device.platform != 'cpu' else 0
    if known or device.platform != 'cpu':
        return int(known)
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def check_rows(name: str, state: Any, shardings: Any, devices: list[Any]) -> None:
    """Refuses arrays with one row an example, and their optimiser's moments, that are larger than a device.

    Args:
      name: of the method, for the message.
      state: shapes of the training state.
      shardings: its layout.
      devices: of this process; devices of one host's CPU share its memory.

    Raises:
      UserError: naming rows, bytes and what would help.
    """
    held, rows = 0, 0
    places = jax.tree.leaves(shardings)
    for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(state), places, strict=True):
        if any(getattr(part, 'key', None) == 'per_example' for part in path) and leaf.ndim:
            held += math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            rows = max(rows, leaf.shape[0])
    shared = len(devices) if devices[0].platform == 'cpu' else 1
    have = room(devices[0])
    if have and held * shared > have:
        raise UserError(
            f'method.name={name} keeps {rows:,} rows, {held / GIB:,.1f} GiB on each device, which has '
            f'{have / shared / GIB:,.1f} GiB; take fewer examples, narrower rows (the last of projector.widths, or the '
            f'features) or more devices'
        )
