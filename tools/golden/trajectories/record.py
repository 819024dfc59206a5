"""Records the authors' training runs on small fixed problems, for `tests/test_trajectories.py`.

Needs PyTorch, torchvision, Lightning, omegaconf, timm and git checkouts of the reference repositories;
the tests need none of them. The reference's own script runs from its entry point to its end: model,
loss, optimiser, schedules and order of a step are its code. What this file supplies at run time are the
data, a small backbone, a CPU in the GPU's place, and a note of each loss.

    OMP_WAIT_POLICY=passive python tools/golden/trajectories/record.py --root CHECKOUTS [--case NAME ...]
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[3] / 'tests' / 'trajectories'  # the problems, and what is recorded of them
sys.path.insert(0, str(DATA))
import problem  # noqa: E402
import references  # noqa: E402

# Ways of running the same reference again, which differ in rounding alone: (threads, type).
VARIANTS = {'threads': (2, torch.float32), 'float64': (1, torch.float64)}
# The reference patches modules as it runs, so each run has a process of its own.
FORK = multiprocessing.get_context('fork')


def record(case: str, root: Path, folder: Path, rank: int, threads: int, dtype: torch.dtype) -> None:
    """One reference run, of which this process is one of the devices; the first writes what it found."""
    with open(os.devnull, 'w') as silence:
        os.dup2(silence.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    world = problem.devices(case)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world)
    found = references.run(case, root, folder)
    if rank == 0:
        np.savez(folder / 'found.npz', **found)


def recorded(case: str, root: Path, threads: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, np.ndarray]:
    """Losses, learning rates and final arrays of one reference run."""
    with tempfile.TemporaryDirectory() as folder:
        devices = [
            FORK.Process(target=record, args=(case, root, Path(folder), rank, threads, dtype))
            for rank in range(problem.devices(case))
        ]
        for device in devices:
            device.start()
        for device in devices:
            device.join()
            if device.exitcode:
                raise SystemExit(f'the reference of {case} failed')
        with np.load(f'{folder}/found.npz') as stored:
            return dict(stored)


def commit(root: Path, repository: str) -> str:
    """The commit of a checkout."""
    command = ['git', '-C', str(root / repository), 'rev-parse', 'HEAD']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def record_all(root: Path, cases: list[str]) -> None:
    """Every case, each run in a process of its own, into `<case>.npz` and `references.json` in tests/trajectories."""
    for case in cases:
        main = recorded(case, root)
        runs = {name: recorded(case, root, *how) for name, how in VARIANTS.items()}
        double = runs['float64']['loss']
        np.savez_compressed(DATA / f'{case}.npz', **problem.packed(main), loss_float64=double)
        repositories = references.REPOSITORIES[case]
        notes_file = DATA / 'references.json'
        notes = json.loads(notes_file.read_text()) if notes_file.exists() else {}
        notes['versions'] = {
            'python': platform.python_version(),
            'numpy': np.__version__,
            **{name: references.version(name) for name in ('torch', 'torchvision', 'lightning', 'timm', 'omegaconf')},
            'recorded': datetime.date.today().isoformat(),
        }
        notes[case] = {
            'references': {r: commit(root, Path(r).name) for r in repositories},
            'entry_point': references.RUNS[case][1],
            'steps': problem.STEPS,
            'views': problem.fingerprint(case),
            'noise_floor': {name: problem.distance(other, main) for name, other in runs.items()},
            'moved': problem.moved(main),
        }
        notes_file.write_text(json.dumps(notes, indent=2, sort_keys=True) + '\n')
        print(case, notes[case]['moved'], notes[case]['noise_floor'], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, required=True, help='folder with the checkouts, by repository name')
    parser.add_argument('--case', choices=problem.CASES, action='append', help='default: all')
    args = parser.parse_args()
    record_all(args.root.resolve(), args.case or list(problem.CASES))


if __name__ == '__main__':
    main()
