"""Reading the rows of a batch, in threads of this process or in processes of their own, without jax.

Processes are started as `python -m selfsup.data.workers`, not forked (jax has threads) and not spawned
(that would run the caller's main module, and import jax, in each). Steps are dealt out in turn: worker
k of n reads steps k, k + n, …, so no queue decides an order and the position of a run is its step.
Pixels come back through memory that both processes map, the rest through a pipe, pickled: both ends
are this program, and nothing read from a file is ever unpickled.
"""

import contextlib
import math
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, is_full_disk
from .batches import Batch, Layout, Rows, Work, layout

_AHEAD = 2  # steps that each worker may be ahead
SHARED_MEMORY = '/dev/shm'
# A decoded image is larger than what malloc keeps, so each would begin with fresh pages, at a tenth of its decoding.
MEMORY = {
    'MALLOC_MMAP_THRESHOLD_': str(2**25),
    'MALLOC_TRIM_THRESHOLD_': str(2**28),
    'PILLOW_BLOCKS_MAX': '8',
}


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


def _reserve(descriptor: int, size: int) -> None:
    """Gives a file its size and its pages: where only the size is set, a writer without memory ends by a signal."""
    if hasattr(os, 'posix_fallocate'):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def _too_small(size: int, workers: int) -> str:
    where = SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else tempfile.gettempdir()
    place, needed = os.statvfs(where), size * workers / 1e6
    return (
        f'data.workers={workers} needs {needed:,.0f} MB of shared memory in {where}, which holds '
        f'{place.f_blocks * place.f_frsize / 1e6:,.0f} MB; give the container more '
        f'(docker run --shm-size={math.ceil(needed * 1.1)}m), or lower data.workers or data.batch_size'
    )


class Processes:
    """Steps read by worker processes, each up to two of its steps ahead."""

    def __init__(self, work: Work, workers: int):
        self.skipped: dict[int, str] = {}
        self._workers: list[_Process] = []
        try:
            for _ in range(workers):
                self._workers.append(_Process(work))
        except OSError as error:
            self.close()
            if not is_full_disk(error):
                raise
            raise UserError(_too_small(_room(layout(work)), workers)) from error
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
        with tempfile.TemporaryFile(dir=SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else None) as file:
            _reserve(file.fileno(), _room(shapes))
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
