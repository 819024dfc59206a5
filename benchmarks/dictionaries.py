"""Dictionaries at 50,000 x 512 features: our TopK step and PyTorch's, our online learner, scikit-learn's and SPAMS'.

    python benchmarks/dictionaries.py --reference=PYTHON           # 8,192 units, batches of 1,024
    python benchmarks/dictionaries.py --only=online --spams=PYTHON # beside SPAMS
    python benchmarks/dictionaries.py --units=2048 --steps=3       # a quick try

PYTHON is the interpreter of an environment with torch, or with spams; without them ours is timed alone. The TopK step
is that of the method `topk` (32 units on, float32, Adam, clipping, atoms of length 1 with their tangent gradient, the
auxiliary loss of dead units as in training) as `Run` compiles it; PyTorch's is the same in plain operations: `addmm`,
`topk`, `scatter`, `addmm`, autograd and `torch.optim.Adam`, without the online probe that ours trains beside. The
online learners code batches of 256 rows with lasso (scikit-learn by coordinate descent, SPAMS by LARS, ours by 100
FISTA steps) and sweep over the atoms once. Every round times all in turn; CPU seconds are those of the process that
works, so that they mean something on a machine with other work. Ratios are medians over rounds of theirs over ours.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = Path(__file__).parent.parent / 'experiments' / 'dictionaries' / 'topk.py'
RATE, ACTIVE, AUXILIARY = 2e-3, 32, 1 / 32
CODED = 256  # rows of a batch of the online learners
ATOMS = 512


def rows_of(count: int, dim: int) -> np.ndarray:
    """Rows of a random sparse code, so that codes have something to find."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((2 * dim, dim), np.float32) / dim**0.5
    codes = rng.standard_normal((count, 2 * dim), np.float32) * (rng.random((count, 2 * dim), np.float32) < 0.02)
    rows = codes @ atoms
    return ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)


def ours(arguments: argparse.Namespace, rows: np.ndarray) -> Callable[[int], None]:
    """So many steps of `topk`, as a run takes them."""
    import jax
    from selfsup import config
    from selfsup.engine.run import Run

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'rows.npz'
        np.savez(file, train_features=rows, test_features=rows[: arguments.batch])
        fields = [
            f'data.source=features:{file}', f'data.batch_size={arguments.batch}', f'model.widths=({arguments.units},)',
            f'method.active={ACTIVE}', f'method.dead_after={len(rows)}', f'optimizer.learning_rate={RATE}',
        ]  # fmt: skip
        run = Run(config.load(str(CONFIG), fields), devices=1)
    state, done = run.start(), 0

    def steps(count: int) -> None:
        nonlocal state, done
        for _ in range(count):
            state, _ = run.dispatch(state, *run.feed(done, 1))
            done += 1
        jax.block_until_ready(state.params)

    return steps


def theirs(arguments: argparse.Namespace, rows: np.ndarray) -> Callable[[int], None]:
    """The same in PyTorch."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    data, dim = torch.from_numpy(rows), rows.shape[1]
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn((arguments.units, dim), generator=generator), dim=1)
    atoms = torch.nn.Parameter(atoms)
    weights = torch.nn.Parameter(atoms.detach().T.clone())
    bias, centre = torch.nn.Parameter(torch.zeros(arguments.units)), torch.nn.Parameter(data[:4096].median(0).values)
    idle = torch.zeros(arguments.units, dtype=torch.long)
    params = [weights, bias, atoms, centre]
    optimizer = torch.optim.Adam(params, lr=RATE)

    def kept(drive: Any, active: int) -> Any:
        values, places = drive.topk(active, dim=1, sorted=False)
        return torch.zeros_like(drive).scatter(1, places, values.relu())

    def steps(count: int) -> None:
        for _ in range(count):
            x = data[torch.randint(len(data), (arguments.batch,), generator=generator)]
            drive = torch.addmm(bias, x - centre, weights)
            codes = kept(drive, ACTIVE)
            left = x - torch.addmm(centre, codes, atoms)
            loss = left.square().sum(1).mean()
            with torch.no_grad():
                idle.add_(arguments.batch)
                idle[(codes != 0).any(0)] = 0
                dead = idle >= len(data)
            residual = left.detach()
            guess = kept(torch.where(dead, drive, 0.0), dim // 2) @ atoms
            spread = (residual - residual.mean(0)).square().sum()
            extra = (residual - guess).square().sum() / spread
            loss = loss + AUXILIARY * torch.where(dead.any(), extra, 0.0)
            optimizer.zero_grad()
            loss.backward()
            with torch.no_grad():
                atoms.grad -= (atoms.grad * atoms).sum(1, keepdim=True) * atoms
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            with torch.no_grad():
                atoms.div_(atoms.norm(dim=1, keepdim=True))

    return steps


def online(arguments: argparse.Namespace, rows: np.ndarray) -> dict[str, Callable[[int], None]]:
    """So many batches of the two online learners, from the same first atoms."""
    import jax
    from selfsup import dictionaries
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    first = rows[:ATOMS] / np.linalg.norm(rows[:ATOMS], axis=1, keepdims=True)
    state, done = dictionaries.online_begin(first), {'ours': 0, 'scikit-learn': 0}
    other = MiniBatchDictionaryLearning(
        ATOMS, alpha=arguments.penalty, batch_size=CODED, fit_algorithm='cd', dict_init=first.copy()
    )

    def batches(name: str, count: int) -> list[np.ndarray]:
        starts = [(done[name] + n) * CODED % (len(rows) - CODED) for n in range(count)]
        done[name] += count
        return [rows[start : start + CODED] for start in starts]

    def step(count: int) -> None:
        nonlocal state
        for batch in batches('ours', count):
            state = dictionaries.online_step(state, batch, penalty=arguments.penalty)
        jax.block_until_ready(state.dictionary)

    def fit(count: int) -> None:
        for batch in batches('scikit-learn', count):
            with warnings.catch_warnings():  # its coordinate descent stops at a number of steps before its tolerance
                warnings.simplefilter('ignore', ConvergenceWarning)
                other.partial_fit(batch)

    return {'ours': step, 'scikit-learn': fit}


def spams_online(arguments: argparse.Namespace, rows: np.ndarray) -> Callable[[int], None]:
    """So many batches of SPAMS' online learner, which draws its rows itself, from the same first atoms."""
    import spams

    data = np.asfortranarray(rows.T)
    atoms = np.asfortranarray(data[:, :ATOMS] / np.linalg.norm(data[:, :ATOMS], axis=0))
    fixed = {'lambda1': arguments.penalty, 'mode': 2, 'batchsize': CODED, 'verbose': False, 'return_model': True}
    state: Any = None

    def fit(count: int) -> None:
        nonlocal atoms, state
        atoms, state = spams.trainDL(data, D=atoms, model=state, iter=count, numThreads=os.cpu_count(), **fixed)

    return fit


def timed(work: Callable[[int], None], count: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of so many steps."""
    began, worked = time.perf_counter(), time.process_time()
    work(count)
    return time.perf_counter() - began, time.process_time() - worked


def serve(arguments: argparse.Namespace) -> None:
    """Another library's side: a number of steps a line, its seconds back."""
    side = {'torch': theirs, 'spams': spams_online}[arguments.serve]
    work = side(arguments, rows_of(arguments.rows, arguments.dim))
    for line in sys.stdin:
        print(json.dumps(timed(work, int(line))), flush=True)


class Reference:
    """The process that runs another library's steps."""

    def __init__(self, arguments: argparse.Namespace, interpreter: str, side: str):
        command = [interpreter, '-W', 'ignore', str(Path(__file__).resolve()), f'--serve={side}']
        command += [f'--{name}={getattr(arguments, name)}' for name in ('rows', 'dim', 'units', 'batch', 'penalty')]
        quiet = {**os.environ, 'OMP_WAIT_POLICY': 'PASSIVE'}  # waiting threads must not count as work
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)

    def time(self, count: int) -> tuple[float, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f'{count}\n')
        self.process.stdin.flush()
        return tuple(json.loads(self.process.stdout.readline()))


def compare(title: str, sides: dict[str, Callable[[int], tuple[float, float]]], rows: int, steps: int, rounds: int):
    """Times all in turn, after one round that is not counted, and prints rows a second and ratios to ours."""
    for time_of in sides.values():
        time_of(1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, time_of in sides.items():
            found[name].append(time_of(steps))
    print(title)
    for name, seconds in found.items():
        wall, cpu = (statistics.median(s[kind] for s in seconds) for kind in (0, 1))
        ratios = [statistics.median(s[k] / o[k] for s, o in zip(seconds, found['ours'], strict=True)) for k in (0, 1)]
        print(
            f'  {name:14s} {rows * steps / wall:9,.0f} rows/s, {rows * steps / cpu:9,.0f} rows per CPU second; '
            f'time over ours {ratios[0]:.2f} (wall), {ratios[1]:.2f} (CPU)',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', default='', help='interpreter of an environment with torch')
    parser.add_argument('--spams', default='', help='interpreter of an environment with spams')
    for name, value in (('rows', 50_000), ('dim', 512), ('units', 8192), ('batch', 1024), ('steps', 5), ('rounds', 5)):
        parser.add_argument(f'--{name}', type=int, default=value)
    parser.add_argument('--penalty', type=float, default=4.0, help='of the online learners')
    parser.add_argument('--only', choices=['topk', 'online'], help='one of the two comparisons')
    parser.add_argument('--serve', choices=['torch', 'spams'], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    import jax

    print(f'{jax.devices()[0].platform}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}')
    rows = rows_of(arguments.rows, arguments.dim)
    shape = f'{arguments.rows} x {arguments.dim}'
    if arguments.only != 'online':
        work = ours(arguments, rows)
        sides = {'ours': lambda count: timed(work, count)}
        reference = Reference(arguments, arguments.reference, 'torch') if arguments.reference else None
        if reference:
            sides['PyTorch'] = reference.time
        compare(f'TopK, {shape}, {arguments.units} units, batches of {arguments.batch}', sides, arguments.batch,
                arguments.steps, arguments.rounds)  # fmt: skip
        if reference:
            reference.process.terminate()
    if arguments.only != 'topk':
        learners = online(arguments, rows)
        sides = {name: (lambda count, work=work: timed(work, count)) for name, work in learners.items()}
        other = Reference(arguments, arguments.spams, 'spams') if arguments.spams else None
        if other:
            sides['SPAMS'] = other.time
        title = f'online, {shape}, {ATOMS} atoms, batches of {CODED}'
        compare(title, sides, CODED, 1, min(arguments.rounds, 5))
        if other:
            other.process.terminate()


if __name__ == '__main__':
    main()
