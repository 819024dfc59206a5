"""Checkpoints: orbax, asynchronous and atomic; the newest few and the best are kept.

Orbax's files have no checksum of the numbers in them: a bit that flips on a disk would be read as another
number. So every checkpoint carries one of each array, and what does not agree with it is not used.
"""

import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from ..errors import UserError
from ..evals.model_selection import goodness
from ..files import is_number, read_json
from . import multihost

FORMAT = 1  # raised when the layout of the state changes


class Checkpoints:
    """The checkpoints of a workdir.

    Args:
      workdir: folder of the run.
      keep: how many of the newest are kept.
      read_only: for readers: nothing is written, and what a run is writing meanwhile is left alone.
      best: name of the number, given at `save`, whose best value is kept besides, as `evals.choosing.goodness` says.
    """

    def __init__(self, workdir: Path, *, keep: int = 2, best: str | None = None, read_only: bool = False):
        # Orbax logs every step of a save, and a traceback for errors that it raises as well.
        logging.set_verbosity(logging.FATAL)
        self._folder = folder = Path(workdir).absolute() / 'checkpoints'
        self._manager: Any = None
        if read_only:  # orbax's manager wants the numbers of every checkpoint, and damaged ones cannot be emptied
            return
        multihost.from_first(lambda: _empty_damaged_numbers(folder))
        manager = ocp.checkpoint_managers
        policies: list[Any] = [manager.LatestN(keep)]
        if best:
            policies.append(manager.BestN(get_metric_fn=lambda m: goodness(m, best), n=1))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=manager.AnyPreservationPolicy(policies),
            best_fn=None if best is None else (lambda m: goodness(m, best)),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(folder, options=options)

    def steps(self) -> list[int]:
        """Steps that can be restored, oldest first."""
        if self._manager is None:  # one that is being written has another name
            return sorted(int(p.name) for p in self._folder.glob('*') if p.name.isdigit() and p.is_dir())
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, metrics: dict[str, float] | None = None) -> None:
        """Starts writing; returns at once, and waits for the write before it."""
        about = {'format': FORMAT, 'step': step, 'checksums': _checksums(state)}
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        self._manager.save(step, args=arguments, metrics=metrics or {}, force=True)

    def wait(self) -> None:
        """Until everything is on disk; raises what went wrong."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def restore(self, like: Any, step: int | None = None) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read (or that of `step`), in the shapes and shardings of `like`.

        A damaged one is reported and the one before it used.

        Returns:
          (step, state), or None without any checkpoint.

        Raises:
          UserError: when `step` is absent or damaged, or no checkpoint can be read.
        """
        available = multihost.from_first(self.steps)
        if step is not None and step not in available:
            raise UserError(f'{self._folder} has no checkpoint of step {step}; there are {available or "none"}')
        failures = []
        for candidate in [step] if step is not None else reversed(available):
            state, text = None, 'another process cannot read it'
            try:
                state = self._read(candidate, like)
            except Exception as error:
                text = (
                    self._other_layout(candidate, like)
                    or f'{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ""}'
                )
            if multihost.everywhere(state is not None):
                return candidate, state
            failures.append(f'step {candidate} ({text})')
            print(f'warning: the checkpoint of {failures[-1]} cannot be read', flush=True)
        if failures:
            raise UserError(f'no checkpoint can be read: {"; ".join(failures)}')
        return None

    def _read(self, step: int, like: Any) -> Any:
        """The state of one checkpoint.

        Not by the manager, whose processes wait for one another after reading: where one of them fails,
        the others would wait for it.
        """
        folder = epath.Path(self._folder / str(step))
        about = ocp.JsonCheckpointHandler().restore(folder / 'about', args=ocp.args.JsonRestore())
        if about.get('format') != FORMAT:
            raise ValueError(f'its format is {about.get("format")}, and this version reads {FORMAT}')
        state = ocp.StandardCheckpointHandler().restore(folder / 'state', args=ocp.args.StandardRestore(like))
        # Checkpoints from before there were checksums are taken as they are.
        written, found = about.get('checksums', {}), _checksums(state)
        damaged = [name for name, value in found.items() if written.get(name, value) != value]
        if damaged:
            raise ValueError(f'{damaged[0]} is damaged: its checksum is another ({len(damaged)} such arrays)')
        return state

    def _other_layout(self, step: int, like: Any) -> str:
        """How the arrays of a checkpoint differ from those of `like` in name, shape or type; '' if they do not."""

        def arrays(tree: Any) -> dict[str, str]:
            return {name: f'{x.dtype}{list(x.shape)}' for name, x in _named(tree).items()}

        try:
            folder = epath.Path(self._folder / str(step) / 'state')
            stored = arrays(ocp.StandardCheckpointHandler().metadata(folder).tree)
        except Exception:  # damaged: what reading it raised says more
            return ''
        wanted = arrays(like)
        lacking, besides = sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys())
        changed = sorted(name for name in wanted.keys() & stored.keys() if wanted[name] != stored[name])
        parts = [f'lacks {lacking[0]} ({len(lacking)} in all)'] if lacking else []
        parts += [f'has {besides[0]} besides ({len(besides)} in all)'] if besides else []
        parts += [f'has {changed[0]} as {stored[changed[0]]}, not {wanted[changed[0]]}'] if changed else []
        return 'it is of another version of this program or of another network: it ' + ', '.join(parts) if parts else ''

    def delete_after(self, step: int) -> None:
        """Removes checkpoints of later steps: damaged ones, before the run writes those steps again."""
        for later in multihost.from_first(lambda: [s for s in self.steps() if s > step]):
            self._manager.delete(later)

    def close(self) -> None:
        if self._manager is not None:
            self._manager.close()


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


def _empty_damaged_numbers(folder: Path) -> None:
    """Empties damaged files of the numbers saved with checkpoints: orbax reads all of them at once, and would fail.

    Their checkpoints can be restored, and are never the best.
    """
    for file in sorted(folder.glob('*/metrics/metrics')):
        try:
            if all(map(is_number, read_json(file).values())):
                continue
            reason = f'{file} is damaged: it must hold numbers alone'
        except UserError as error:
            reason = str(error)
        print(f'warning: {reason}; its checkpoint does not count as the best', flush=True)
        file.write_text('{}')


def shapes(state: Any, shardings: Any) -> Any:
    """What `restore` wants: shapes, types and places of a state."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
