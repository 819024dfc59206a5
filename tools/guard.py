"""Shows that a change of the code moves no bit of what the methods compute: records short runs, compares records.

    python tools/guard.py record BEFORE --checkout=PATH      # of the commit before, in a worktree of it
    python tools/guard.py record AFTER
    python tools/guard.py compare BEFORE AFTER               # equal to the bit, or the first line that differs

Every digits config for 60 steps and CIFAR-10's SimCLR for 3, on one thread of the CPU in float32: `metrics.jsonl`,
parameters and the state beside them. Bits depend on the machine and on versions, so records are made, not kept.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMON = {'train.log_every': 1, 'train.precision': 'float32', 'train.epochs': 13}
DIGITS = {**COMMON, 'train.stop_after_steps': 60, 'checkpoint.every_epochs': 12, 'monitor.every_epochs': 6}
CIFAR = {**COMMON, 'train.stop_after_steps': 3, 'data.batch_size': 32, 'data.per_class': 100}
FLAGS = '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'

# The arrays of a workdir's checkpoint, through the one function whose name and result stay.
ARRAYS = """
import sys, jax, numpy as np, selfsup
encoder = selfsup.load_encoder(sys.argv[1])
leaves = jax.tree_util.tree_leaves_with_path({'params': encoder.params, 'extra': encoder.extra})
np.savez(sys.argv[2], **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})
"""


def record(folder: Path, checkout: Path, names: list[str], data: str) -> None:
    """One workdir and one `.npz` of arrays for each config."""
    environment = {**os.environ, 'PYTHONPATH': str(checkout / 'ssl'), 'XLA_FLAGS': FLAGS, 'OMP_NUM_THREADS': '1'}
    environment['JAX_PLATFORMS'] = 'cpu'
    if hasattr(os, 'sched_setaffinity'):  # XLA cuts its work by the processors that it sees
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    configs = {path.stem: (path, DIGITS) for path in sorted((checkout / 'experiments/digits').glob('[!_]*.py'))}
    configs = {name: entry for name, entry in configs.items() if name != 'common'}
    if data:
        configs['cifar10'] = (checkout / 'experiments/cifar10/simclr.py', {**CIFAR, 'data.dir': data})
    for name, (path, fields) in configs.items():
        if names and name not in names:
            continue
        workdir = folder.resolve() / name
        shutil.rmtree(workdir, ignore_errors=True)
        overrides = [f'--config.{field}={value}' for field, value in fields.items()]
        command = [sys.executable, '-m', 'selfsup.train', f'--config={path}', f'--workdir={workdir}', *overrides]
        done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
        if done.returncode not in (0, 75):
            raise SystemExit(f'{name}: exit code {done.returncode}\n{done.stderr}')
        arrays = [sys.executable, '-c', ARRAYS, str(workdir), str(folder.resolve() / f'{name}.npz')]
        subprocess.run(arrays, env=environment, cwd=checkout, check=True)
        print(f'{name}: recorded', flush=True)


def compare(before: Path, after: Path) -> int:
    """How many configs differ, with the first difference of each."""
    import numpy as np

    bad = 0
    for file in sorted(before.glob('*.npz')):
        name = file.stem
        if not (after / file.name).is_file():
            print(f'{name}: not recorded in {after}')
            continue
        old, new = dict(np.load(file)), dict(np.load(after / file.name))
        found = [f'only in {before}: {k}' for k in sorted(old.keys() - new.keys())]
        found += [f'only in {after}: {k}' for k in sorted(new.keys() - old.keys())]
        found += [
            f'{key}: {np.abs(np.asarray(old[key], float) - np.asarray(new[key], float)).max():.3g} apart'
            for key in sorted(old.keys() & new.keys())
            if old[key].tobytes() != new[key].tobytes()
        ]
        pairs = (
            [json.loads(line) for line in (folder / name / 'metrics.jsonl').read_text().splitlines()]
            for folder in (before, after)
        )
        for one, other in zip(*pairs, strict=True):
            if one != other:
                differing = {k: (v, other.get(k)) for k, v in one.items() if other.get(k) != v}
                differing |= {k: (None, v) for k, v in other.items() if k not in one}
                found.append(f'step {one["step"]}: {differing}')
        bad += bool(found)
        print(f'{name}: ' + ('equal' if not found else f'{len(found)} differences: {"; ".join(found[:4])}'))
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('record')
    one.add_argument('folder', type=Path)
    one.add_argument('--checkout', type=Path, default=ROOT)
    one.add_argument('--names', nargs='*', default=[])
    one.add_argument('--cifar10', default='', help='folder of TFDS that holds a prepared CIFAR-10')
    two = commands.add_parser('compare')
    two.add_argument('before', type=Path)
    two.add_argument('after', type=Path)
    values = parser.parse_args()
    if values.command == 'record':
        values.folder.mkdir(parents=True, exist_ok=True)
        record(values.folder, values.checkout.resolve(), values.names, values.cifar10)
    else:
        raise SystemExit(1 if compare(values.before, values.after) else 0)


if __name__ == '__main__':
    main()
