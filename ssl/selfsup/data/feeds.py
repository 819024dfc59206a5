"""Two ways to feed the step that give the same batches: images resident on the device, or streamed.

A feed is called with the first step and the number of steps of a dispatch and returns
`(data, indices)`: resident, `data` is the whole set and the step gathers `indices` from it; streaming,
`data` holds the dispatch's own images `[steps, batch, …]`.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..errors import UserError
from ..parallel import DATA_AXIS, replicated
from .order import batch_indices
from .sources import Source

# Below this many bytes a data set is kept on the device; above, it is streamed.
RESIDENT_LIMIT = 2 * 1024**3


def place(mesh: Mesh, array: np.ndarray, spec: PartitionSpec | None = None) -> jax.Array:
    """A host array on the mesh; each process gives only the part that its devices hold."""
    sharding = replicated(mesh) if spec is None else NamedSharding(mesh, spec)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


class Resident:
    """All images on every device as uint8; nothing but indices crosses the bus per step."""

    resident = True

    def __init__(self, source: Source, *, seed: int, batch_size: int, mesh: Mesh):
        self.seed, self.count, self.batch_size, self.mesh = seed, len(source), batch_size, mesh
        self.waited = 0.0
        self.data = {'image': place(mesh, source.images()), 'label': place(mesh, source.labels)}

    def __call__(self, step: int, steps: int) -> tuple[dict[str, jax.Array], jax.Array]:
        indices = batch_indices(self.seed, step, steps, self.count, self.batch_size)
        return self.data, place(self.mesh, indices, PartitionSpec(None, DATA_AXIS))


class Streaming:
    """Images decoded ahead of the step by grain's threads or processes.

    Dispatch is asynchronous: while the device works on one dispatch, the loop is already here for the
    next, so decoding, the copy to the device and the step overlap. The position is the step number,
    and resuming needs no iterator state.
    """

    resident = False

    def __init__(self, source: Source, *, seed: int, batch_size: int, mesh: Mesh, workers: int = 0):
        self.source, self.seed, self.count, self.batch_size, self.mesh = source, seed, len(source), batch_size, mesh
        self.workers = workers
        self.waited = 0.0
        self._next = -1
        self._iterator: Iterator[dict[str, np.ndarray]] = iter(())
        # Each process reads only its own rows of every batch.
        process, processes = jax.process_index(), jax.process_count()
        self._rows = range(batch_size)[process * batch_size // processes : (process + 1) * batch_size // processes]

    def _start(self, step: int) -> None:
        import grain

        seed, count, batch_size, rows, source = self.seed, self.count, self.batch_size, self._rows, self.source
        width = len(rows)

        def fetch(position: int) -> dict[str, Any]:
            number, row = divmod(int(position), width)
            index = batch_indices(seed, number, 1, count, batch_size)[0][rows[row]]
            return {'index': index, **source[int(index)]}

        dataset = grain.MapDataset.range(step * width, 2**62).map(fetch).batch(width, drop_remainder=True)
        threads = grain.ReadOptions(num_threads=0 if self.workers else 8, prefetch_buffer_size=2 * width)
        iterable = dataset.to_iter_dataset(threads)
        if self.workers:
            iterable = iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=self.workers))
        self._iterator = iter(iterable)

    def __call__(self, step: int, steps: int) -> tuple[dict[str, jax.Array], jax.Array]:
        started = time.perf_counter()
        if step != self._next:
            self._start(step)
        self._next = step + steps
        try:
            batches = [next(self._iterator) for _ in range(steps)]
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f'{self.source.name} cannot be batched: {error}; set data.image_size (and data.channels) '
                f'to bring its images to one shape'
            ) from error
        stacked = {name: np.stack([b[name] for b in batches]) for name in ('image', 'label', 'index')}
        sharding = NamedSharding(self.mesh, PartitionSpec(None, DATA_AXIS))
        put = {k: jax.make_array_from_process_local_data(sharding, v) for k, v in stacked.items()}
        self.waited += time.perf_counter() - started
        return {'image': put['image'], 'label': put['label']}, put['index']


def make_feed(
    kind: str, source: Source, *, seed: int, batch_size: int, mesh: Mesh, workers: int = 0
) -> Resident | Streaming:
    """The feed of a config: 'resident', 'streaming', or 'auto' by the size of the set."""
    if len(source) < batch_size:
        raise UserError(
            f'data.batch_size={batch_size} is larger than the {len(source)} images to train on '
            f'({source.name}); lower it to at most {len(source)}'
        )
    if batch_size % mesh.size:
        raise UserError(f'data.batch_size={batch_size} must be a multiple of the {mesh.size} devices')
    if kind == 'auto':
        kind = 'resident' if len(source) * source[0]['image'].nbytes <= RESIDENT_LIMIT else 'streaming'
    if kind == 'resident':
        return Resident(source, seed=seed, batch_size=batch_size, mesh=mesh)
    return Streaming(source, seed=seed, batch_size=batch_size, mesh=mesh, workers=workers)
