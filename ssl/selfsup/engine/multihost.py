"""What the processes of a run agree on: one decides and the others hear of it, or all are asked.

Everything here is called by all processes in the same order; with one process it costs nothing.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array

from .. import parallel
from ..errors import UserError


def several() -> bool:
    """Whether the run has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is process 0, which writes the run's files."""
    return jax.process_index() == 0


def from_first(make: Callable[[], Any]) -> Any:
    """What `make()` returns at process 0, at every process; only process 0 calls it.

    Args:
      make: returns plain values (what JSON can hold).

    Raises:
      UserError: everywhere, with process 0's sentence, where it is raised there.
    """
    if not several():
        return make()
    said: dict[str, Any] = {}
    if is_first():
        try:
            said = {'value': make()}
        except UserError as error:
            said = {'error': str(error)}
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    room = np.zeros(1 << max(length - 1, 1).bit_length(), np.uint8)  # few different sizes, so few compilations
    if is_first():
        room[:length] = text
    heard = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(room)).astype(np.uint8)[:length].tobytes())
    if 'error' in heard:
        raise UserError(heard['error'])
    return heard['value']


def everywhere(fine: bool) -> bool:
    """Whether `fine` holds at every process."""
    return bool(np.all(multihost_utils.process_allgather(np.asarray(fine)))) if several() else fine


def check_same(about: dict[str, str]) -> None:
    """Refuses to go on where this process was started with something else than process 0.

    Args:
      about: what it is called -> a line of text each, or several.

    Raises:
      UserError: at the process that differs, with the first line that does.
    """
    for name, theirs in from_first(lambda: about).items():
        if about[name] != theirs:
            lines = zip([*about[name].splitlines(), ''], [*theirs.splitlines(), ''], strict=False)
            mine, other = next((a.strip(), b.strip()) for a, b in lines if a != b)
            raise UserError(
                f'process {jax.process_index()} has another {name} than process 0: {mine} instead of {other}'
            )


class Ballot:
    """Asks all processes a question at once and does not wait: the answer is an array, read when it is ready.

    A vote is one tiny reduction over the mesh, dispatched behind the step that it follows, so every
    process reads the same answer at the same step however far its host is ahead of its devices.
    """

    def __init__(self, mesh: Mesh, questions: int = 1):
        self._shape = (mesh.shape[parallel.DATA_AXIS], questions)
        self._rows = sum(d.process_index == jax.process_index() for d in mesh.devices.flat)
        self._sharding = parallel.sharded(mesh)
        self._any = jax.jit(lambda votes: jnp.max(votes, axis=0), out_shardings=parallel.replicated(mesh))

    def __call__(self, *yes: bool) -> Array:
        """Whether any process says yes, `[questions]` int32, not ready yet."""
        own = np.tile(np.asarray(yes, np.int32), (self._rows, 1))
        return self._any(jax.make_array_from_process_local_data(self._sharding, own, self._shape))


def local(tree: Any, mesh: Mesh) -> Any:
    """A tree of the mesh's arrays on this process's first device, for work that one process does alone."""
    if not several():
        return tree
    whole = jax.jit(lambda x: x, out_shardings=parallel.replicated(mesh))(tree)
    # Nothing of all processes may be under way when another thread votes: on one device a process, only what one
    # thread dispatches is run in its order.
    jax.block_until_ready(whole)
    return jax.tree.map(lambda x: x.addressable_data(0), whole)
