"""A SimCLR step on a CPU: ours beside the same step in PyTorch, eager and compiled, channels last.

    python benchmarks/train.py --reference=PYTHON                   # three networks; minutes on two quiet cores
    python benchmarks/train.py --reference=PYTHON --networks convnet --rounds=9

Both take two views of 32 x 32 that are in memory already (`benchmarks/augment.py` measures the augmentation), run them
through the network as one batch, an MLP of 512 and 128 with batch-norm, NT-Xent at temperature 0.2, and SGD with
momentum 0.9, in float32. Ours is the engine's whole step, with online probe and metrics. PYTHON has torch. Every round
times all in turn, so that a busy machine slows all alike; a ratio is the median over rounds of theirs over ours.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch_step import our_step, torch_step

NETWORKS = ('resnet18', 'convnet', 'vit_ti')
RIVALS = ('eager', 'compiled')


def serve() -> None:
    """Reads `[network, kind, batch]` per line and answers with seconds, or with why there are none."""
    import torch

    torch.set_num_threads(2)
    made: dict[str, Callable] = {}
    for line in sys.stdin:
        try:
            if line not in made:
                made[line] = torch_step(*json.loads(line))
                made[line]()
            begun = time.perf_counter()
            made[line]().item()
            print(json.dumps(time.perf_counter() - begun), flush=True)
        except (ImportError, RuntimeError) as error:
            print(json.dumps(str(error).strip().splitlines()[0]), flush=True)


def compare(name: str, batch: int, rounds: int, reference: Any, kinds: list[str]) -> None:
    """Rows of the table for one network."""
    step = our_step(name, batch)
    float(step())
    times: dict[str, list[float]] = {'ours': []}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        begun = time.perf_counter()
        float(step())
        times['ours'].append(time.perf_counter() - begun)
        for kind in kinds if reference else ():
            if kind in missing:
                continue
            reference.stdin.write(json.dumps([name, kind, batch]) + '\n')
            reference.stdin.flush()
            answer = json.loads(reference.stdout.readline())
            if isinstance(answer, str):
                missing[kind] = answer
            else:
                times.setdefault(kind, []).append(answer)
    for kind, rows in times.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(rows, times['ours'], strict=True))
        print(f'| {name} | {kind} | {batch / statistics.median(rows):.1f} | {ratio:.2f} |', flush=True)
    for kind, why in missing.items():
        print(f'| {name} | {kind} | did not run: {why} | |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', default='', help='interpreter of an environment with torch and torchvision')
    parser.add_argument('--networks', nargs='+', default=NETWORKS, choices=NETWORKS)
    parser.add_argument('--kinds', nargs='+', default=RIVALS, choices=RIVALS, help='what PyTorch runs')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    import jax

    print(f'{jax.devices()[0].platform}, {platform.machine()}, jax {jax.__version__}, batch {arguments.batch}\n')
    print('| network | step | images/s | ours is faster by |\n| --- | --- | ---: | ---: |', flush=True)
    reference: Any = None
    if arguments.reference:
        command = [arguments.reference, '-W', 'ignore', str(Path(__file__).resolve()), '--serve']
        reference = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for name in arguments.networks:
        compare(name, arguments.batch, arguments.rounds, reference, arguments.kinds)
    if reference:
        reference.stdin.close()
        reference.wait()


if __name__ == '__main__':
    main()
