"""What the recorders share: a process for each reference run, a note of its losses, and what is kept of it.

A recorder gives `command` its cases, `{case: (run, repository, entry point)}`: `run(case, root, folder)` lets the
authors' code run and gives losses, learning rates and final arrays by the paths of our state; of `folder` it may make
what it likes. Checkouts stand in `root` by the last part of their repository's name.
"""

import argparse
import contextlib
import datetime
import functools
import importlib.metadata
import io
import json
import multiprocessing
import platform
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from trajectories import problem as arrays

Found = dict[str, np.ndarray]
Run = Callable[[str, Path, Path], Found]
# Ways of running the same reference again, which differ in rounding alone: (threads, type).
VARIANTS = {'threads': (2, torch.float32), 'float64': (1, torch.float64)}
# References patch modules as they run, so each run has a process of its own.
FORK = multiprocessing.get_context('fork')
PACKAGES = ('numpy', 'torch', 'torchvision', 'lightning', 'timm', 'omegaconf')


def noting(losses: list[float]) -> None:
    """Notes every loss on its way back."""
    backward = torch.Tensor.backward

    def noted(self, *args, **kwargs):
        losses.append(self.item())
        return backward(self, *args, **kwargs)

    torch.Tensor.backward = noted


def alone(run: Run, case: str, root: Path, folder: Path, place: tuple[int, int], threads: int, dtype: Any) -> None:
    """A reference run in this process, which is device `place[0]` of `place[1]`; the first writes what it found."""
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    rank, world = place
    if world:
        torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world)
    with contextlib.redirect_stdout(io.StringIO()):
        found = run(case, root, folder)
    if rank == 0:
        np.savez(folder / 'found.npz', **found)


def recorded(run: Run, case: str, root: Path, how: tuple = (1, torch.float32), devices: int = 0) -> Found:
    """Losses, learning rates and final arrays of one reference run; of `devices` processes, or one outside a group."""
    with tempfile.TemporaryDirectory() as folder:
        given = [(run, case, root, Path(folder), (rank, devices), *how) for rank in range(max(devices, 1))]
        processes = [FORK.Process(target=alone, args=one) for one in given]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                raise SystemExit(f'the reference of {case} failed')
        with np.load(f'{folder}/found.npz') as stored:
            return dict(stored)


def commit(root: Path, repository: str) -> str:
    """The commit of a checkout."""
    command = ['git', '-C', str(root / Path(repository).name), 'rev-parse', 'HEAD']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions() -> dict[str, str]:
    """Of Python and of the packages that are here."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def save(problem: Any, case: str, root: Path, run: tuple[Run, Any, str], devices: int) -> dict:
    """Records a case into `<case>.npz` and `references.json` of tests/trajectories; gives its note."""
    function, repositories, entry = run
    found = recorded(function, case, root, devices=devices)
    again = {name: recorded(function, case, root, how, devices) for name, how in VARIANTS.items()}
    np.savez_compressed(arrays.HERE / f'{case}.npz', **arrays.packed(found), loss_float64=again['float64']['loss'])
    file = arrays.HERE / 'references.json'
    notes = json.loads(file.read_text())
    names = (repositories,) if isinstance(repositories, str) else repositories
    notes[case] = {
        'references': {name: commit(root, name) for name in names},
        'entry_point': entry,
        'steps': problem.STEPS,
        'views': problem.fingerprint(case),
        'noise_floor': {name: arrays.distance(other, found) for name, other in again.items()},
        'moved': arrays.moved(found, functools.partial(problem.starting, case)),
        'versions': versions(),
        'recorded': datetime.date.today().isoformat(),
    }
    file.write_text(json.dumps(notes, indent=2, sort_keys=True) + '\n')
    return notes[case]


def command(doc: str, problem: Any, runs: dict[str, tuple[Run, Any, str]], devices: Callable = lambda case: 0) -> None:
    """The command of a recorder: all cases of `problem`, or those named."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--root', type=Path, required=True, help='folder with the checkouts, by repository name')
    parser.add_argument('--case', choices=list(runs), action='append', help='default: all')
    options = parser.parse_args()
    for case in options.case or list(runs):
        note = save(problem, case, options.root.resolve(), runs[case], devices(case))
        print(case, f'moved {note["moved"]:.2f}', note['noise_floor'], flush=True)
