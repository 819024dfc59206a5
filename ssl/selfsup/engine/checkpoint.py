"""Checkpoints: written by orbax, asynchronously and atomically; the newest few and the best are kept.

A checkpoint is a folder named by its step, with two parts, so that an encoder is read without the optimiser: `network`
(step, params, extra) and `training` (opt_state, probe). Beside them stands `about`: the format, the numbers measured,
and a checksum of every array, because orbax's files have none: a bit that flips on a disk would be read as another
number. What does not agree with its checksum is not used. Older checkpoints go only after the new one was read back.
"""

import contextlib
import dataclasses
import math
import re
import shutil
import sys
import tempfile
import zlib
from logging import CRITICAL, getLogger
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from ..errors import UserError
from ..evals.model_selection import goodness
from ..files import is_number, no_folder, read_json
from . import multihost

FORMAT = 2  # raised when the layout of a checkpoint changes
PARTS = {'network': ('step', 'params', 'extra'), 'training': ('opt_state', 'probe')}
# Format -> folder -> the fields in it. Format 1 had one part for all.
LAYOUTS = {1: {'state': (*PARTS['network'], *PARTS['training'])}, FORMAT: PARTS}
# Leaves that older versions saved and that are not read any more: the step counters of SwAV and DINO.
RETIRED = ('extra/step',)
UNFINISHED = ('.orbax-checkpoint-tmp', '.deleted')  # in names of folders that a crash or a failed save left behind
INDEX = 'manifest.ocdbt'  # of a part's arrays; orbax has been seen to leave it out without an error

PLAIN = re.compile(r'[\w./+=,@ -]+')  # paths that every library takes literally

_before: list[Any] = []  # the hook that stood before ours


def _unraisable(error: Any) -> None:
    """Prints an error that cannot be raised, but for those of arrays whose save had failed already.

    Their writers report to the event loop of the save, which its first error has closed: a traceback for each array.
    """
    if not (isinstance(error.exc_value, RuntimeError) and str(error.exc_value) == 'Event loop is closed'):
        _before[-1](error)


class Checkpoints:
    """The checkpoints of a workdir.

    Args:
      workdir: folder of the run.
      keep: how many of the newest are kept.
      read_only: for readers: nothing is written, and what a run is writing meanwhile is left alone.
      best: name of the number, given at `save`, whose best value is kept besides, as
        :func:`selfsup.evals.model_selection.goodness` says.
    """

    def __init__(self, workdir: Path, *, keep: int = 2, best: str | None = None, read_only: bool = False):
        # Orbax logs every step of a save, and a traceback for errors that it raises as well.
        logging.set_verbosity(logging.FATAL)
        # It writes arrays as tasks and raises the first error; asyncio would log a traceback for each of the others.
        getLogger('asyncio').setLevel(CRITICAL)
        if sys.unraisablehook is not _unraisable:
            _before.append(sys.unraisablehook)
            sys.unraisablehook = _unraisable
        self._folder = Path(workdir).absolute() / 'checkpoints'
        self._keep, self._best = keep, best
        self._place, self._holder = _literal(self._folder)
        self._unchecked: int | None = None  # the step whose checkpoint is being written, or was not read back yet
        self._writer: Any = None
        if not read_only:
            multihost.from_first(self._clear)
            self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())

    def _clear(self) -> None:
        """Makes the folder, without what crashes and failed saves left in it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'{self._folder} cannot be made: {no_folder(self._folder, error)}') from error
        for path in self._folder.iterdir():
            if any(mark in path.name for mark in UNFINISHED):
                shutil.rmtree(path)

    def steps(self) -> list[int]:
        """Steps that can be restored, oldest first."""
        if not self._folder.is_dir():
            return []
        # One that is being written has another name.
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit() and p.is_dir())

    def save(self, step: int, state: Any, metrics: dict[str, float] | None = None) -> None:
        """Starts writing; returns at once, and waits for the write before it.

        Args:
          step: its number.
          state: a :class:`step.TrainState`.
          metrics: what was measured last; those that are not finite are left out.
        """
        self.wait()
        about = {
            'format': FORMAT,
            'step': step,
            'checksums': _checksums(state),
            'numbers': {name: value for name, value in (metrics or {}).items() if math.isfinite(value)},
        }
        parts = {part: ocp.args.StandardSave(_fields(state, names)) for part, names in PARTS.items()}
        arguments = ocp.args.Composite(**parts, about=ocp.args.JsonSave(about))
        self._unchecked = step
        self._writer.save(self._place / str(step), args=arguments, force=True)

    def wait(self) -> None:
        """Until the checkpoint is on disk and was read back; then older ones go. Raises what went wrong."""
        step, self._unchecked = self._unchecked, None
        self._writer.wait_until_finished()
        self._writer.check_for_errors()
        if step is not None:
            multihost.from_first(lambda: self._settle(step))

    def _settle(self, new: int) -> None:
        """Reads the new checkpoint's indexes and its step back, then removes those that are not to be kept."""
        folder = self._place / str(new)
        try:
            for part in PARTS:
                _check_index(folder / part)
            read = _read_part(folder / 'network', {'step': jax.ShapeDtypeStruct((), np.int32)})['step']
            if int(read) != new:
                raise ValueError(f'it holds step {read}')
        except Exception as error:
            raise UserError(
                f'the checkpoint {self._folder / str(new)} cannot be read back: {_line(error)}; older ones are kept'
            ) from error
        steps = self.steps()
        kept = {*steps[-self._keep :], *self._best_of(steps)}
        for step in steps:
            if step not in kept:
                self._remove(step)

    def _best_of(self, steps: list[int]) -> list[int]:
        """The step with the best number, the latest of equals; empty where no checkpoint has one."""
        if not self._best:
            return []
        merits = [(goodness(self._numbers(step), self._best), step) for step in steps]
        return [step for merit, step in [max(merits, default=(-math.inf, 0))] if math.isfinite(merit)]

    def _numbers(self, step: int) -> dict[str, float]:
        """What was measured before a checkpoint was saved; empty where it is damaged, which then is never the best."""
        folder = self._folder / str(step)
        older = folder / 'metrics' / 'metrics'
        with contextlib.suppress(UserError):
            found = read_json(older) if older.exists() else read_json(folder / 'about' / 'metadata').get('numbers')
            if isinstance(found, dict) and all(map(is_number, found.values())):
                return found
        print(f'warning: the numbers of {folder} are damaged; it does not count as the best', flush=True)
        return {}

    def _remove(self, step: int) -> None:
        """Under another name first, so that no half of it is taken for a checkpoint."""
        shutil.rmtree((self._folder / str(step)).rename(self._folder / f'{step}{UNFINISHED[1]}'))

    def restore(self, like: Any, step: int | None = None) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read (or that of `step`), in the shapes and shardings of `like`.

        A damaged one is reported and the one before it used.

        Args:
          like: a :class:`step.TrainState` of shapes, see :func:`shapes`.
          step: its number, or None for the newest.

        Returns:
          (step, state), or None without any checkpoint.

        Raises:
          UserError: when `step` is absent or damaged, or no checkpoint can be read.
        """
        every = [name for names in PARTS.values() for name in names]
        found = self._first_readable(_fields(like, every), step)
        return None if found is None else (found[0], dataclasses.replace(like, **found[1]))

    def restore_network(self, like: dict[str, Any], step: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """As :meth:`restore`, of `params` and `extra` alone: nothing of the optimiser is read."""
        return self._first_readable(like, step)

    def _first_readable(self, like: dict[str, Any], step: int | None) -> tuple[int, dict[str, Any]] | None:
        available = multihost.from_first(self.steps)
        if step is not None and step not in available:
            raise UserError(f'{self._folder} has no checkpoint of step {step}; there are {available or "none"}')
        failures = []
        for candidate in [step] if step is not None else reversed(available):
            fields, text = None, 'another process cannot read it'
            try:
                fields = self._read(candidate, like)
            except Exception as error:
                text = _line(error)
            if multihost.everywhere(fields is not None):
                assert fields is not None
                return candidate, fields
            failures.append(f'step {candidate} ({text})')
            print(f'warning: the checkpoint of {failures[-1]} cannot be read', flush=True)
        if failures:
            raise UserError(f'no checkpoint can be read: {"; ".join(failures)}')
        return None

    def _read(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """Fields of one checkpoint.

        By handlers and not by orbax's checkpointers, whose processes wait for one another after reading: where one of
        them fails, the others would wait for it.
        """
        folder = self._folder / str(step)
        about = read_json(folder / 'about' / 'metadata')
        if about.get('format') not in LAYOUTS:
            raise ValueError(
                f'its format is {about.get("format")}, and this version reads {", ".join(map(str, LAYOUTS))}'
            )
        found: dict[str, Any] = {}
        for part, names in LAYOUTS[about['format']].items():
            wanted = {name: like[name] for name in names if name in like}
            if wanted:
                found |= _read_part(self._place / str(step) / part, wanted)
        # Checkpoints from before there were checksums are taken as they are.
        written, own = about.get('checksums', {}), _checksums(found)
        damaged = [name for name, value in own.items() if written.get(name, value) != value]
        if damaged:
            raise ValueError(f'{damaged[0]} is damaged: its checksum is another ({len(damaged)} such arrays)')
        return found

    def delete_after(self, step: int) -> None:
        """Removes checkpoints of later steps: damaged ones, before the run writes those steps again."""

        def remove() -> None:
            for later in self.steps():
                if later > step:
                    self._remove(later)

        multihost.from_first(remove)

    def close(self) -> None:
        """Waits for what is being written."""
        if self._writer is not None:
            self._writer.close()
        if self._holder is not None:
            self._holder.cleanup()


def _literal(folder: Path) -> tuple[epath.Path, tempfile.TemporaryDirectory | None]:
    """`folder` under a name that orbax and TensorStore take literally: a link to it where its own is none.

    Orbax finds a checkpoint's files by patterns; with brackets in the path it finds none, merges no index and raises
    nothing. TensorStore takes a backslash for a slash.

    Returns:
      (place, what removes the link).
    """
    if PLAIN.fullmatch(str(folder)):
        return epath.Path(folder), None
    holder = tempfile.TemporaryDirectory(prefix='selfsup-')
    link = Path(holder.name) / folder.name
    link.symlink_to(folder)
    return epath.Path(link), holder


def _fields(state: Any, names: Any) -> dict[str, Any]:
    return {name: getattr(state, name) for name in names}


def _line(error: Exception) -> str:
    """An error on one line."""
    text = str(error).strip()
    return f'{type(error).__name__}: {text.splitlines()[0][:300] if text else ""}'


def _check_index(folder: epath.Path) -> None:
    if not (folder / INDEX).exists():
        raise FileNotFoundError(f'{folder.name}/{INDEX} is missing')


def _read_part(folder: epath.Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Fields of one part, in the shapes and shardings given; as NumPy arrays where no sharding is."""
    _check_index(folder)
    fault = _other_layout(ocp.StandardCheckpointHandler().metadata(folder).tree, wanted)
    if fault:
        raise ValueError(fault)
    arguments = ocp.checkpoint_utils.construct_restore_args(wanted)
    read = ocp.args.PyTreeRestore(item=wanted, restore_args=arguments, partial_restore=True)
    return ocp.PyTreeCheckpointHandler().restore(folder, args=read)


def _other_layout(stored: Any, wanted: dict[str, Any]) -> str:
    """How the fields of a checkpoint differ from those wanted in name, shape or type; '' if they do not."""

    def arrays(tree: Any) -> dict[str, str]:
        return {name: f'{x.dtype}{list(x.shape)}' for name, x in _named(tree).items()}

    kept, own = arrays({name: tree for name, tree in stored.items() if name in wanted}), arrays(wanted)
    lacking, besides = sorted(own.keys() - kept.keys()), sorted(kept.keys() - own.keys() - set(RETIRED))
    changed = sorted(name for name in own.keys() & kept.keys() if own[name] != kept[name])
    parts = [f'lacks {lacking[0]} ({len(lacking)} in all)'] if lacking else []
    parts += [f'has {besides[0]} besides ({len(besides)} in all)'] if besides else []
    parts += [f'has {changed[0]} as {kept[changed[0]]}, not {own[changed[0]]}'] if changed else []
    return 'it is of another version of this program or of another network: it ' + ', '.join(parts) if parts else ''


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a state by their places, as `params/encoder/…`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def _checksums(state: Any) -> dict[str, int]:
    """CRC-32 of the bytes of every array that this process can see whole."""
    found = {}
    for name, array in _named(state).items():
        if not array.is_fully_addressable and not array.is_fully_replicated:
            continue
        whole = array if array.is_fully_addressable else array.addressable_data(0)
        found[name] = zlib.crc32(np.ascontiguousarray(whole).reshape(-1).view(np.uint8).data)
    return found


def shapes(state: Any, shardings: Any) -> Any:
    """What `restore` wants: shapes, types and places of a state."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
