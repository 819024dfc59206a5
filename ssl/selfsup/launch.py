"""Several processes: starting them on this machine, joining those of a cluster, and ending all when one fails.

`--processes=N` starts N processes of the same command here, on the CPU, for trying. On a cluster every
process is started by the cluster, with `--distributed` or with its place given by hand. Either way
:func:`join` connects it to the others before jax starts a backend.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from . import cli
from .errors import REQUEUE, UserError, outcome

USAGE = """
  --processes=N         N processes on this machine's CPU, for trying; with --host-devices=K each has K devices
  --distributed         one process of several, in a job of SLURM or Open MPI or on a TPU pod
  --coordinator=H:P     likewise by hand: host and port of process 0, and
  --process-id=I --process-count=N   which process this is, from 0, and of how many"""
OPTIONS: dict[str, str | None] = {
    'processes': '0', 'distributed': 'false', 'coordinator': '', 'process-id': '', 'process-count': '',
}  # fmt: skip

POLL = 0.2  # seconds after which a signal is noticed, whichever thread the system gave it to
GRACE = 10.0  # seconds that the other processes have to end after one has
LAST_WORDS = 1.0  # seconds in which processes that fail alike may all say so, before the coordinator goes
# Seconds without a sign of life after which a process counts as lost: the others then end.
LOST_AFTER = 30
# As `engine.preemption.SIGNALS`, whose module starts jax.
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
PARENT = 'SELFSUP_LAUNCHED_BY'  # environment variable: pid of the launching process


def train(values: dict[str, str], arguments: list[str], count: int) -> int:
    """`selfsup.train` with the same arguments as `count` processes; see :func:`start`.

    Args:
      values: of `OPTIONS`.
      arguments: of the command, with `--processes`.
      count: number of processes.

    Raises:
      UserError: with options that are for the processes of a cluster.
    """
    for name in OPTIONS:
        if name != 'processes' and values[name] != OPTIONS[name]:
            raise UserError(f'--processes starts processes of its own on this machine; leave --{name} out')
    return start([sys.executable, '-m', 'selfsup.train', *_without_processes(arguments)], count)


def start(command: list[str], count: int) -> int:
    """Runs a command as `count` processes on this machine until all have ended.

    Process 0 has the terminal; of the others only what they write to standard error is shown, each line
    with the number of its process. Signals are passed on. When one process fails the others have
    `GRACE` seconds to end by themselves.

    Args:
      command: gets `--coordinator`, `--process-id` and `--process-count` appended, which :func:`join` takes.
      count: number of processes, at least 1.

    Returns:
      The exit code of the process that failed first; 75 where some were preempted and none failed; else 0.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = {'JAX_PLATFORMS': 'cpu', **os.environ, PARENT: str(os.getpid())}
    ended: queue.Queue = queue.Queue()
    children = []
    for number in range(count):
        place = [f'--coordinator=127.0.0.1:{port}', f'--process-id={number}', f'--process-count={count}']
        child = subprocess.Popen(
            [*command, *place],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if number else None,
            stderr=subprocess.PIPE if number else None,
            start_new_session=True,  # else Ctrl-C would reach each of them twice, and the second one ends a run at once
        )
        children.append(child)
        threading.Thread(target=_watch, args=(number, child, ended), daemon=True).start()

    def pass_on(signal_number: int, frame: Any) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(signal_number)

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
    passed = (number for number in PASSED_ON if not (ignored and number == signal.SIGHUP))
    before = {number: signal.signal(number, pass_on) for number in passed}
    codes: list[int] = []
    deadline = None
    try:
        while len(codes) < count:
            with contextlib.suppress(queue.Empty):
                codes.append(ended.get(timeout=POLL))
            if deadline is not None and time.monotonic() > deadline:
                for child in children:
                    child.kill()
            if any(codes) and deadline is None:
                deadline = time.monotonic() + GRACE
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    failed = [code for code in codes if code not in (0, REQUEUE)]
    return failed[0] if failed else max(codes)


def _without_processes(arguments: list[str]) -> list[str]:
    """The arguments without `--processes=N` or `--processes N`."""
    left = []
    for before, word in zip(['', *arguments], arguments, strict=False):
        if word != '--processes' and before != '--processes' and not word.startswith('--processes='):
            left.append(word)
    return left


def _watch(number: int, child: subprocess.Popen, ended: queue.Queue) -> None:
    """Passes on a process's standard error, and its exit code as a shell counts it."""
    with child:
        for line in child.stderr or ():
            with contextlib.suppress(BrokenPipeError):  # nobody listens; the process must not wait for that
                sys.stderr.write(f'process {number}: {line.decode(errors="replace")}')
                sys.stderr.flush()
    code = child.returncode
    ended.put(code if code >= 0 else 128 - code)


def join(values: dict[str, str]) -> None:
    """Connects this process to the others of its run, where the options say that there are any.

    Args:
      values: of `OPTIONS`, as :func:`selfsup.cli.parse` gives them.

    Raises:
      UserError: where options contradict one another or the others cannot be reached.
    """
    place = [name for name in ('coordinator', 'process-id', 'process-count') if values[name]]
    if not place and values['distributed'] != 'true':
        return
    if place and len(place) < 3:
        raise UserError(f'--{place[0]} needs --coordinator=host:port, --process-id and --process-count together')
    options: dict[str, Any] = {}
    if place:
        number, count = (cli.integer(name, values[name]) for name in ('process-id', 'process-count'))
        if number >= count:
            raise UserError(f'--process-id={number} must be below --process-count={count}: processes count from 0')
        if not values['coordinator'].rpartition(':')[2].isdigit() or values['coordinator'].startswith(':'):
            raise UserError(
                f'--coordinator={values["coordinator"]} must be the host and port of process 0, as host:port'
            )
        options = {
            'coordinator_address': values['coordinator'],
            'process_id': number,
            'num_processes': count,
            # Else a cluster that jax knows would give this process one of its GPUs.
            'cluster_detection_method': 'deactivate',
        }
    import jax

    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    before = signal.getsignal(signal.SIGTERM)
    try:
        jax.distributed.initialize(**options, heartbeat_timeout_seconds=LOST_AFTER)
    except (ValueError, TypeError, RuntimeError) as error:
        where = f'--coordinator={values["coordinator"]}' if place else '--distributed'
        hint = '' if place else '; --coordinator, --process-id and --process-count name the place by hand'
        raise UserError(f'{where}: the processes cannot be joined: {str(error).splitlines()[0]}{hint}') from error
    signal.signal(signal.SIGTERM, before)  # jax's own handler would swallow the signals that come before the run's
    if jax.process_index():
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115  what a run prints is said once
    if os.environ.get(PARENT):
        threading.Thread(target=_end_with, args=(int(os.environ[PARENT]),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process when the one that launched it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def ending_together(work: Callable[[], int]) -> int:
    """`work()`; where it raises in one process of several, this one ends at once, and so the others do.

    An ordinary exit would wait for the others, who wait for this process in their next exchange. They
    notice a closed connection at once (CPU), or the missing heartbeat after `LOST_AFTER` seconds.

    Returns:
      What `work` returns.
    """
    import jax

    if jax.process_count() == 1:
        return work()
    try:
        return work()
    except BaseException as error:
        code = outcome(error)
        if code is None:
            traceback.print_exc()
            print('error: this process ends; one that ended before it says why', file=sys.stderr)
            code = 1
        sys.stderr.flush()
        sys.stdout.flush()
        if jax.process_index() == 0:
            time.sleep(LAST_WORDS)
        os._exit(code)
