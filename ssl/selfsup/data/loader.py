"""Two ways to feed the step that give the same batches: rows resident on the device, or streamed.

A feed is called with the first step and the number of steps of a dispatch and returns
`(data, indices)`: resident, `data` is the whole set and the step gathers `indices` from it; streaming,
`data` holds the dispatch's own rows `[steps, batch, …]`. `data` has the keys `input`, whose rows have the shape and
type of the source's `spec`, and `label`.
"""

import collections
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..augment.pipeline import Canvas, Crops
from ..errors import UserError
from ..parallel import DATA_AXIS, replicated
from .batches import work_on
from .crop_boxes import Crop
from .sampler import batch_indices
from .sources import Source
from .workers import Processes, Threads

# Up to this many bytes a data set is kept on the device by default, and whole on each; above, it is streamed.
RESIDENT_LIMIT = 2 * 1024**3


def set_bytes(source: Source) -> int:
    """Bytes of all rows in memory."""
    return len(source) * math.prod(source.spec.shape) * source.spec.dtype.itemsize


def is_shared(nbytes: int, mesh: Mesh) -> bool:
    """Whether each device holds its share of a resident set of so many bytes, and not the whole."""
    return nbytes > RESIDENT_LIMIT and mesh.size > 1


def place(mesh: Mesh, array: np.ndarray, spec: PartitionSpec | None = None) -> jax.Array:
    """A host array on the mesh; each process gives only the part that its devices hold."""
    sharding = replicated(mesh) if spec is None else NamedSharding(mesh, spec)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


class Resident:
    """All rows on the devices, images as uint8; nothing but indices crosses the bus per step.

    Every device has them all, unless that takes more than `RESIDENT_LIMIT`: then each has its share, and
    the step's gather becomes one exchange of a batch's rows.
    """

    resident = True

    def __init__(self, source: Source, *, seed: int, batch_size: int, mesh: Mesh):
        self.seed, self.count, self.batch_size, self.mesh = seed, len(source), batch_size, mesh
        self.waited = 0.0
        inputs, labels, self.skipped = source.arrays()
        _tell({}, self.skipped)
        spread = None
        if is_shared(inputs.nbytes, mesh):
            spread = PartitionSpec(DATA_AXIS)
            rest = -len(inputs) % mesh.shape[DATA_AXIS]  # shares must be equal; the last rows are never asked for
            inputs, labels = (np.concatenate([x, x[:rest]]) for x in (inputs, labels))
        self.data = {'input': place(mesh, inputs, spread), 'label': place(mesh, labels, spread)}

    def __call__(self, step: int, steps: int) -> tuple[dict[str, jax.Array], jax.Array]:
        indices = batch_indices(self.seed, step, steps, self.count, self.batch_size)
        return self.data, place(self.mesh, indices, PartitionSpec(None, DATA_AXIS))


class Streaming:
    """Images decoded ahead of the step by threads or by processes that know nothing of jax.

    Dispatch is asynchronous: while the device works on one dispatch, the loop is already here for the
    next, so decoding, the copy to the device and the step overlap. The position is the step number,
    and resuming needs no iterator state.

    With `crops` the readers take every view's random crop from the full image, with the boxes that the
    step would draw; `input` is then a :class:`selfsup.augment.pipeline.Crops`. With a `canvas` beside them the step
    takes the crops: `input` is a :class:`selfsup.augment.pipeline.Canvas`, every image in the upper left corner, whole.
    """

    resident = False

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        batch_size: int,
        mesh: Mesh,
        workers: int = 0,
        crops: Sequence[Crop] = (),
        channels: int = 0,
        canvas: int = 0,
    ):
        self.source, self.mesh = source, mesh
        self.waited = 0.0
        # Each process reads only its own rows of every batch.
        process, processes = jax.process_index(), jax.process_count()
        rows = (process * batch_size // processes, (process + 1) * batch_size // processes)
        work = work_on(
            source, seed=seed, batch_size=batch_size, rows=rows, crops=crops, channels=channels, canvas=canvas
        )
        self._read = Processes(work, workers) if workers else Threads(work)
        self._told: dict[int, str] = {}
        self._views, self._canvas = len(crops), canvas

    @property
    def skipped(self) -> dict[int, str]:
        """Corrupt images met so far: number -> what is wrong."""
        return self._read.skipped

    def __call__(self, step: int, steps: int) -> tuple[dict[str, Any], jax.Array]:
        started = time.perf_counter()
        batches = [self._read(number) for number in range(step, step + steps)]
        _tell(self._told, self.skipped)
        self._told = dict(self.skipped)
        sharding = NamedSharding(self.mesh, PartitionSpec(None, DATA_AXIS))

        def put(name: str) -> jax.Array:
            rows = batches[0][name][None] if steps == 1 else np.stack([batch[name] for batch in batches])
            return jax.make_array_from_process_local_data(sharding, rows)

        for batch in batches:
            batch['label'] = self.source.labels[batch['used']]
            if self._views:
                batch.update({f'box{view}': batch['boxes'][:, view] for view in range(self._views)})
        boxes = tuple(put(f'box{view}') for view in range(self._views))
        inputs: Any
        if not self._views:
            inputs = put('input')
        elif self._canvas:
            inputs = Canvas(put('canvas'), boxes)
        else:
            inputs = Crops(tuple(put(f'crop{view}') for view in range(self._views)), boxes)
        found = {'input': inputs, 'label': put('label')}, put('index')
        self.waited += time.perf_counter() - started
        return found

    def close(self) -> None:
        """Ends the readers; they also end with this process."""
        self._read.close()


def _tell(before: dict[int, str], now: dict[int, str]) -> None:
    """Names the images that were skipped since `before`."""
    for number in now.keys() - before.keys():
        print(f'skipped ({len(now)} so far): {now[number]}', file=sys.stderr)


def make_feed(
    kind: str,
    source: Source,
    *,
    seed: int,
    batch_size: int,
    mesh: Mesh,
    workers: int = 0,
    crops: Sequence[Crop] = (),
    channels: int = 0,
    canvas: int = 0,
) -> Resident | Streaming:
    """The feed of a config: 'resident', 'streaming', or 'auto' by the size of the set; see the two classes."""
    kind = feed_kind(kind, source, batch_size=batch_size, mesh=mesh, crops=crops, canvas=canvas)
    common: dict[str, Any] = {'seed': seed, 'batch_size': batch_size, 'mesh': mesh}
    if kind == 'resident':
        return Resident(source, **common)
    return Streaming(source, **common, workers=workers, crops=crops, channels=channels, canvas=canvas)


def feed_kind(
    kind: str, source: Source, *, batch_size: int, mesh: Mesh, crops: Sequence[Crop] = (), canvas: int = 0
) -> str:
    """'resident' or 'streaming'.

    Raises:
      UserError: for a batch that does not fit the set or the mesh, or a feed that cannot do what is asked.
    """
    if len(source) < batch_size:
        raise UserError(
            f'data.batch_size={batch_size} is larger than the {len(source)} examples to train on '
            f'({source.name}); lower it to at most {len(source)}'
        )
    if batch_size % mesh.shape[DATA_AXIS]:
        raise UserError(
            f'data.batch_size={batch_size} must be a multiple of the {mesh.shape[DATA_AXIS]} devices'
            + (f' of the {jax.process_count()} processes' if jax.process_count() > 1 else '')
        )
    shares = collections.Counter(device.process_index for device in mesh.devices.flat)
    if len(set(shares.values())) > 1:
        raise UserError(
            'every process must have as many devices as the others, and they have '
            + ', '.join(str(shares[number]) for number in sorted(shares))
        )
    if crops and kind == 'resident':
        way = 'canvas' if canvas else 'reading'
        raise UserError(f'data.crop={way} needs data.feed=streaming: resident images have one size already')
    if crops and not source.spec.is_image:
        raise UserError(
            f'data.crop=reading and canvas cut views out of images, and the rows of {source.name} have the shape '
            f'{list(source.spec.shape)}; set data.crop=device'
        )
    if kind == 'auto':
        kind = 'resident' if not crops and set_bytes(source) <= RESIDENT_LIMIT else 'streaming'
    return kind
