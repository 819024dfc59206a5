"""Signals that ask a run to save and leave, at one process or at any of several."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jax.sharding import Mesh

from .multihost import Ballot, is_first, several

# What schedulers and people send: SLURM's --signal takes any, and USR1 and USR2 are what other trainers ask it for; HUP
# comes from a terminal or connection that is closed.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
POLL = 0.5  # seconds between votes while process 0 works and the others wait


class Left(BaseException):
    """Raised by a signal in work that has nothing to save."""


class _Outlasting:
    """A stream whose reader may go: from then on what is written goes nowhere, and `lost` has been called."""

    def __init__(self, stream: Any, lost: Callable[[], None]):
        self._stream, self._lost = stream, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._gone(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._gone(error)

    def _gone(self, error: OSError) -> None:
        if error.errno not in (errno.EPIPE, errno.EIO):  # a terminal that was closed gives EIO
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # what is in the buffer can be written then
        os.close(nowhere)
        self._lost()


class Stop:
    """A signal that asks the run to save and leave; a second one ends it at once.

    Attributes:
      asked: this process got a signal.
      heard: some process of several wants to stop, and every process knows.
    """

    def __init__(self) -> None:
        self.asked = self.heard = self._leaving = False
        self._old = {}
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: a closed terminal is to change nothing
            try:
                self._old[number] = signal.signal(number, self._ask)
            except ValueError:  # not in the main thread: the caller handles signals
                break

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if several():  # a handler would not run while this process waits for the others
            for other in self._old:
                signal.signal(other, signal.SIG_DFL)
        with contextlib.suppress(OSError, RuntimeError):  # nobody listens; or it came in the middle of another line
            print(
                f'received {signal.Signals(number).name}; {"leaving" if self._leaving else "saving"}',
                file=sys.stderr,
                flush=True,
            )
        if self._leaving:
            raise Left

    def unread(self) -> None:
        """Nobody reads what the run prints, as after `| head`, or `| tee` that Ctrl-C ended first: it is to save."""
        self.asked = self.asked or not self._leaving

    @contextlib.contextmanager
    def outlasting_readers(self) -> Iterator[None]:
        """For a while, output that cannot be written ends nothing but the output; of stdout, see :meth:`unread`."""
        kept = {'stdout': sys.stdout, 'stderr': sys.stderr}
        for name, stream in kept.items():
            setattr(sys, name, _Outlasting(stream, self.unread if name == 'stdout' else lambda: None))
        try:
            yield
        finally:
            for name, stream in kept.items():
                setattr(sys, name, stream)

    def during(self, work: Callable[[], None]) -> None:
        """Does work that a signal may leave at any point, because the same command does it again."""
        try:
            try:
                self._leaving = True
                if not self.asked:
                    work()
            finally:
                self._leaving = False
        except Left:
            pass

    def restore(self) -> None:
        """Gives the signals back to who had them."""
        for number, handler in self._old.items():
            signal.signal(number, handler)


def first_works(work: Callable[[], None], stop: Stop, mesh: Mesh) -> None:
    """Process 0 works and the others wait; a signal at any process reaches all.

    Args:
      work: left when process 0 gets a signal, see :meth:`Stop.during`.
      stop: `heard` is set where any process got a signal.
      mesh: of the run.
    """
    if not several():
        work()
        return
    ballot = Ballot(mesh, 2)
    done = threading.Event()

    def vote() -> None:
        """Until the work is done, or left because of a signal at some process."""
        over = False
        while not over:
            asked, over = (bool(x) for x in np.asarray(ballot(stop.asked, done.is_set())))
            if asked and not stop.heard and is_first() and not stop.asked and not over:
                signal.raise_signal(signal.SIGTERM)  # runs the handler in the main thread, which works
            stop.heard = stop.heard or asked
            if is_first():
                done.wait(POLL)

    if not is_first():
        vote()
        return
    voting = threading.Thread(target=vote, daemon=True)
    voting.start()
    work()
    done.set()
    voting.join()
