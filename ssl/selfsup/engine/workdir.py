"""The folder of a run: its lock, its identity, and what it was made with."""

import contextlib
import fcntl
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from ..config import differences, from_dict, identity, to_json
from ..data.sources.folder import SUFFIXES
from ..errors import UserError
from ..files import expanded, make_folders, no_folder, placed, read_json, remove_empty
from . import multihost

# Fields that say where the data lie.
PATIENCE = 0.5  # seconds that a lock is asked for
MOVABLE = ('data.source', 'data.dir')


class Lock:
    """Holds a workdir for one process; the operating system lets go when the process ends, however it ends.

    On a file system without locks (Lustre without `-o flock`, NFS without its lock service) it holds nothing, and says
    so.

    Args:
      workdir: the folder.
      made: folders that were made for it, the inner first; they go with a lock that no run came of.
    """

    def __init__(self, workdir: Path, made: Sequence[Path] = ()):
        self._path, self._made = workdir / '.lock', made
        self._file = self._path.open('a+')
        try:
            self._take()
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or 'unknown'
            self._file.close()
            raise UserError(f'{workdir} is in use by another process ({owner})') from None
        except OSError as error:
            print(
                f'warning: {workdir} lies on a file system without locks ({error.strerror}): see to it that no other '
                f'process uses this workdir meanwhile',
                flush=True,
            )
        self.owner = f'pid {os.getpid()} on {platform.node()}'
        self._file.truncate(0)
        self._file.write(self.owner)
        self._file.flush()

    def _take(self) -> None:
        """Asks again for half a second: a list of runs holds the lock for a moment to see whether it is free."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_there():
                    return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _is_there(self) -> bool:
        """Whether the file that is held is still that of its name: who held it may have taken it away, as below."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                return True
        self._file.close()
        make_folders(self._path.parent)
        self._file = self._path.open('a+')
        return False

    def release(self) -> None:
        """Lets go; of a run that was refused before it wrote its config nothing stays."""
        if not (self._path.parent / 'config.json').exists():
            with contextlib.suppress(OSError):
                self._path.unlink()
            remove_empty(self._made)
        self._file.close()


def hold(path: str | Path) -> tuple[Path, Lock | None]:
    """The folder of a run and its lock, which process 0 makes and holds for all processes.

    Raises:
      UserError: everywhere, if process 0 cannot have it; at a process that sees another folder than process 0.
    """
    lock: Lock | None = None

    def take() -> str:
        nonlocal lock
        lock = Lock(*make(path))
        return lock.owner

    owner = multihost.from_first(take)
    root = expanded(path)
    if lock is None:
        file = root / '.lock'
        if not file.is_file() or file.read_text() != owner:
            raise UserError(
                f'--workdir={path} is another folder at process {jax.process_index()} than at process 0: it must '
                f'lie on storage that all processes share'
            )
    return root, lock


def check_apart(path: str | Path, source: str) -> None:
    """Refuses a new workdir among the images of its run's data: a folder of a run is left out of a folder of images.

    Args:
      path: the workdir.
      source: `data.source`.
    """
    kind, _, place = source.partition(':')
    root = expanded(path)
    if kind != 'folder' or not root.is_dir() or (root / 'config.json').exists():
        return
    inside = Path(os.path.realpath(root)).is_relative_to(os.path.realpath(expanded(place)))
    if inside and any(Path(name).suffix.lower() in SUFFIXES for _, _, names in os.walk(root) for name in names):
        raise UserError(f'--workdir={path} holds images of data.source={source}; name a folder for the run alone')


def make(path: str | Path) -> tuple[Path, list[Path]]:
    """The folder of a run, made if it is not there, and the folders that were made, the inner first."""
    workdir = expanded(path)
    made: list[Path] = []
    try:
        made = make_folders(workdir)
        probe = workdir / '.writable'
        probe.touch()
        probe.unlink()
    except OSError as error:
        remove_empty(made)
        raise UserError(f'--workdir={path} cannot be written: {no_folder(workdir, error)}') from error
    return workdir, made


def versions() -> dict[str, str]:
    """Versions of what decides the numbers, and the devices."""
    names = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
    found = {name: metadata.version(name) for name in names}
    devices = jax.devices()
    return {**found, 'python': platform.python_version(), 'devices': f'{len(devices)} x {devices[0].device_kind}'}


def git_commit() -> str:
    """The commit of the code, marked if it has uncommitted changes; '' outside a repository."""
    root = Path(__file__).parent
    try:
        commit = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=root, capture_output=True, text=True, timeout=10)
        status = subprocess.run(['git', 'status', '--porcelain'], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return (commit.stdout.strip() + (' with changes' if status.stdout.strip() else '')) if not commit.returncode else ''


def command() -> str:
    """The command line of this process, as a shell takes it; the interpreter by its name alone."""
    program, *rest = sys.orig_argv or ['python']
    return shlex.join([Path(program).name, *rest])


def claim(workdir: Path, config: ConfigDict, about: dict[str, Any]) -> None:
    """Writes `config.json`, or checks that the one there belongs to the same run.

    Args:
      workdir: folder of the run.
      config: resolved config.
      about: `fingerprint` of the data and whatever else is worth keeping.

    Raises:
      UserError: naming each field that differs.
    """
    file = workdir / 'config.json'
    if file.exists():
        saved = read_json(file)
        fingerprint = saved.get('fingerprint')
        if not isinstance(saved.get('config'), dict) or not isinstance(fingerprint, str):
            raise UserError(f'{file} is damaged: it lacks the config or the fingerprint; move it away to start anew')
        try:
            old = from_dict(saved['config'])
        except UserError as error:
            raise UserError(f'{file} is damaged or of another version of this code: {error}') from error
        # The same data may lie elsewhere by now: their fingerprint is of their content.
        free = MOVABLE if fingerprint == about['fingerprint'] else ()
        changed = [line for line in differences(old, config) if line.split(':')[0] not in free]
        if changed:
            raise UserError(
                f'{workdir} belongs to another config; {"; ".join(changed[:8])}'
                f'{f" and {len(changed) - 8} more" if len(changed) > 8 else ""}; use another --workdir'
            )
        if fingerprint != about['fingerprint']:
            raise UserError(
                f'the data of {workdir} have changed (fingerprint {fingerprint}, now {about["fingerprint"]})'
            )
    content = {
        'config': json.loads(to_json(config)),
        'identity': identity(config),
        **about,
        'versions': versions(),
        'git': git_commit(),
        'command': command(),
    }
    with placed(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True))
