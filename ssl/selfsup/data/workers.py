"""Reading the rows of a batch, in threads of this process or in processes of their own, without jax.

Processes are started as `python -m selfsup.data.workers`, not forked (jax has threads) and not spawned
(that would run the caller's main module, and import jax, in each). Steps are dealt out in turn: worker
k of n reads steps k, k + n, …, so no queue decides an order and the position of a run is its step.
Pixels come back through memory that both processes map, the rest through a pipe, pickled: both ends
are this program, and nothing read from a file is ever unpickled.
"""

import contextlib
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from . import crop_boxes
from .readers import Reader, as_array, decoded
from .sampler import batch_indices
from .sources import readable

_METHODS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
_AHEAD = 2  # steps that each worker may be ahead
# A decoded image is larger than what malloc keeps, so each would begin with fresh pages, at a tenth of its decoding.
MEMORY = {
    'MALLOC_MMAP_THRESHOLD_': str(2**25),
    'MALLOC_TRIM_THRESHOLD_': str(2**28),
    'PILLOW_BLOCKS_MAX': '8',
}
Batch = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """Everything that decides the rows of a step that one process reads.

    Attributes:
      reader, name: the images, and what they are called in errors.
      count, shape: number of images, and the shape of the first, which all have unless they are cropped.
      seed, batch_size: of the run; the batch is global.
      rows: which rows of every batch, first and one past the last.
      crops: the crop of each view, whose box is drawn on reading; empty gives the whole image.
      canvas: 0 cuts the views out; else the image is handed on with the boxes, in the corner of a square of this side.
      channels: 1 or 3 converts, 0 takes what the first image has.
      on_corrupt: 'stop' or 'skip', see :func:`.sources.readable`.
    """

    reader: Reader
    name: str
    count: int
    shape: tuple[int, ...]
    seed: int
    batch_size: int
    rows: tuple[int, int]
    crops: Sequence[crop_boxes.Crop] = ()
    channels: int = 0
    on_corrupt: str = 'stop'
    canvas: int = 0


def cut(picture: Image.Image, name: str, boxes: list[tuple], crops: Sequence[crop_boxes.Crop], channels: int) -> list:
    """The boxes of a picture, each resized to its view's size, uint8 `[size, size, channels]`.

    A JPEG is decoded at a half, a quarter or an eighth where every box still has at least as many pixels
    as its view: the decoder then skips most of its work.
    """
    full = picture.size
    reduction = 1
    if picture.format == 'JPEG':
        room = min(min(h, w) / crop.size for (_, _, h, w), crop in zip(boxes, crops, strict=True))
        reduction = max((r for r in (2, 4, 8) if r <= room), default=1)
    if reduction > 1:
        picture.draft(None, (full[0] // reduction, full[1] // reduction))
    small = decoded(picture, name, channels)
    views = []
    for (top, left, height, width), crop in zip(boxes, crops, strict=True):
        across, down = small.size[0] / full[0], small.size[1] / full[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        whole = (int(box[0]), int(box[1]), -int(-box[2] // 1), -int(-box[3] // 1))
        part = small.crop(whole)
        inside = (box[0] - whole[0], box[1] - whole[1], box[2] - whole[0], box[3] - whole[1])
        views.append(as_array(part.resize((crop.size, crop.size), _METHODS[crop.method], box=inside)))
    return views


def uncut(picture: Image.Image, name: str, boxes: list[tuple], canvas: int, channels: int) -> tuple[np.ndarray, list]:
    """The picture, no longer than `canvas` pixels, as uint8 `[height, width, channels]`, and the boxes in its pixels.

    A longer one is reduced to that length (bicubic), of a JPEG by the decoder as far as a power of two will do.
    """
    full = picture.size
    if max(full) > canvas and picture.format == 'JPEG':
        width, height = (max(1, side * canvas // max(full)) for side in full)
        picture.draft(None, (width, height))
    small = decoded(picture, name, channels)
    if max(small.size) > canvas:
        small.thumbnail((canvas, canvas), Image.Resampling.BICUBIC)
    (across, down), limits = (small.size[0] / full[0], small.size[1] / full[1]), (small.size[1], small.size[0])
    found = []
    for top, left, height, width in boxes:
        # At least one pixel, which may be more than the box: a view of none could not be resampled.
        sides = max(height * down, 1.0), max(width * across, 1.0)
        start = (
            min(at, limit - side) for at, limit, side in zip((top * down, left * across), limits, sides, strict=True)
        )
        found.append((*start, *sides))
    return as_array(small), found


Layout = dict[str, tuple[tuple[int, ...], str]]


def layout(work: Work) -> Layout:
    """Shape and type of every array of a :class:`Work`'s batches, in order."""
    rows = work.rows[1] - work.rows[0]
    shapes: Layout = {'index': ((rows,), '<i4'), 'used': ((rows,), '<i8')}
    if not work.crops:
        return {**shapes, 'image': ((rows, *work.shape), '|u1')}
    shapes['boxes'] = ((rows, len(work.crops), 4), '<f4')
    channels = work.channels or work.shape[-1]
    if work.canvas:
        return {**shapes, 'image': ((rows, work.canvas, work.canvas, channels), '|u1')}
    for view, crop in enumerate(work.crops):
        shapes[f'crop{view}'] = ((rows, crop.size, crop.size, channels), '|u1')
    return shapes


class Rows:
    """The rows of any step of a :class:`Work`, read in this process."""

    def __init__(self, work: Work, threads: int = 0):
        self.work = work
        self.skipped: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._shapes = layout(work)

    def _views(self, index: int, row: int, drawn: list[crop_boxes.Draws]) -> dict[str, np.ndarray]:
        work = self.work
        with work.reader.picture(index) as picture:
            width, height = picture.size
            boxes = [crop_boxes.box(d, row, height, width, c) for d, c in zip(drawn, work.crops, strict=True)]
            name = getattr(picture, 'filename', '') or f'{work.name} number {index}'
            if work.canvas:
                image, boxes = uncut(picture, str(name), boxes, work.canvas, work.channels)
                return {'image': image, 'boxes': np.array(boxes)}
            views = cut(picture, str(name), boxes, work.crops, work.channels)
        return {f'crop{number}': view for number, view in enumerate(views)} | {'boxes': np.array(boxes)}

    def __call__(self, step: int, out: Batch | None = None) -> Batch:
        """The arrays of a step's rows.

        Args:
          step: its number.
          out: arrays of the :func:`layout` to write into; else they are made. Images are written where
            they are wanted as they are decoded: stacking them afterwards costs a fifth of their decoding.

        Returns:
          `index` and `used` (the same but where a corrupt image is replaced) `[rows]`; and `image`
          `[rows, height, width, channels]`, or the views `crop0` … and their `boxes` `[rows, views, 4]`; or,
          on a canvas, `image` and `boxes`. Outside its image a canvas holds what was there: no crop sees it.
        """
        work = self.work
        first, last = work.rows
        out = out or {name: np.empty(shape, kind) for name, (shape, kind) in self._shapes.items()}
        out['index'][...] = batch_indices(work.seed, step, 1, work.count, work.batch_size)[0][first:last]
        drawn = crop_boxes.draw(work.seed, step, np.arange(first, last), len(work.crops)) if work.crops else []

        def one(row: int) -> None:
            def look(index: int) -> dict[str, np.ndarray]:
                return self._views(index, row, drawn) if work.crops else {'image': work.reader.array(index)}

            at, found = readable(int(out['index'][row]), work.count, look, work.on_corrupt, self.skipped)
            out['used'][row] = at
            for name, array in found.items():
                place = out[name][row]
                if work.canvas and name == 'image':
                    place = place[: array.shape[0], : array.shape[1]]
                if array.shape != place.shape:
                    raise UserError(
                        f'{work.name} cannot be batched: number {at} is {list(array.shape)} and the first image '
                        f'{list(out[name].shape[1:])}; set data.image_size (and data.channels) to bring its images '
                        f'to one shape'
                    )
                place[...] = array

        numbers = range(last - first)
        list(self._pool.map(one, numbers) if self._pool else map(one, numbers))
        return out


class Threads:
    """Steps read by threads of this process, one step ahead."""

    def __init__(self, work: Work, threads: int = 8):
        self._rows = Rows(work, threads)
        self._ahead = ThreadPoolExecutor(1)
        self._waiting: dict[int, Future] = {}

    @property
    def skipped(self) -> dict[int, str]:
        return self._rows.skipped

    def __call__(self, step: int) -> Batch:
        future = self._waiting.pop(step, None) or self._ahead.submit(self._rows, step)
        self._waiting = {step + 1: self._waiting.get(step + 1) or self._ahead.submit(self._rows, step + 1)}
        return future.result()

    def close(self) -> None:
        self._ahead.shutdown(wait=False, cancel_futures=True)


def _slots(memory: mmap.mmap, shapes: Layout) -> list[Batch]:
    """The arrays of each slot of a shared memory."""
    slots, start = [], 0
    for _ in range(_AHEAD):
        slot: Batch = {}
        for name, (shape, kind) in shapes.items():
            count = int(np.prod(shape))
            slot[name] = np.frombuffer(memory, kind, count, start).reshape(shape)
            start += -(-slot[name].nbytes // 64) * 64
        slots.append(slot)
    return slots


def _room(shapes: Layout) -> int:
    return _AHEAD * sum(-(-int(np.prod(shape)) * np.dtype(kind).itemsize // 64) * 64 for shape, kind in shapes.values())


class Processes:
    """Steps read by worker processes, each up to two of its steps ahead."""

    def __init__(self, work: Work, workers: int):
        self.skipped: dict[int, str] = {}
        self._workers = [_Process(work) for _ in range(workers)]
        self._next = self._expected = -1

    def __call__(self, step: int) -> Batch:
        if step != self._expected:
            for worker in self._workers:
                worker.forget()
            self._next = step
        self._expected = step + 1
        # The slot of the step that was handed out last is free again: it was copied.
        while self._next < step + _AHEAD * len(self._workers):
            self._workers[self._next % len(self._workers)].ask(self._next)
            self._next += 1
        batch, skipped = self._workers[step % len(self._workers)].answer()
        self.skipped.update(skipped)
        return batch

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class _Process:
    """One worker process, seen from here."""

    def __init__(self, work: Work):
        shapes = layout(work)
        folder = '/dev/shm' if os.path.isdir('/dev/shm') else None
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(_room(shapes))
            self._slots = _slots(mmap.mmap(file.fileno(), _room(shapes)), shapes)
            root = str(Path(__file__).parents[2])
            paths = os.pathsep.join([root, *filter(None, [os.environ.get('PYTHONPATH')])])
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'selfsup.data.workers', str(file.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(file.fileno(),),
                env={**MEMORY, **os.environ, 'PYTHONPATH': paths},
                start_new_session=True,  # Ctrl-C is for the run, which ends its workers by closing their pipe
            )
        # Also when nobody closes the feed: a worker must not outlive it.
        self._end = weakref.finalize(self, _end, self._process)
        self._asked: list[int] = []
        self._turn = 0
        self._send(work)

    def _send(self, what: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError(f'a worker that reads images ended with code {self._process.wait()}') from error

    def ask(self, step: int) -> None:
        """Puts a step into the worker's queue."""
        self._asked.append(self._turn % _AHEAD)
        self._send((step, self._turn % _AHEAD))
        self._turn += 1

    def answer(self) -> tuple[Batch, dict[int, str]]:
        """The batch of the oldest step asked for, copied out of the shared memory; waits for it."""
        assert self._process.stdout is not None
        try:
            outcome, content = pickle.load(self._process.stdout)
        except EOFError as error:
            raise RuntimeError(f'a worker that reads images ended with code {self._process.wait()}') from error
        slot = self._slots[self._asked.pop(0)]
        if outcome == 'refused':
            raise UserError(content)
        if outcome == 'failed':
            raise RuntimeError(f'a worker that reads images failed:\n{content}')
        return {name: array.copy() for name, array in slot.items()}, content

    def forget(self) -> None:
        """Drops what was asked for and not fetched."""
        while self._asked:
            with contextlib.suppress(UserError):
                self.answer()

    def close(self) -> None:
        """Ends the process."""
        self._end()


def _end(process: subprocess.Popen) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()  # type: ignore[union-attr]
    process.wait()


def main(descriptor: int) -> None:
    """What a worker process does until its pipe closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    work = pickle.load(requests)
    shapes = layout(work)
    slots = _slots(mmap.mmap(descriptor, _room(shapes)), shapes)
    rows = Rows(work)
    while True:
        try:
            step, slot = pickle.load(requests)
        except EOFError:
            return
        try:
            rows(step, slots[slot])
            outcome = ('done', rows.skipped)
        except UserError as error:
            outcome = ('refused', str(error))
        except Exception:
            outcome = ('failed', traceback.format_exc())
        try:
            pickle.dump(outcome, answers)
            answers.flush()
        except BrokenPipeError:
            return


if __name__ == '__main__':
    main(int(sys.argv[1]))
