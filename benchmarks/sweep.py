"""Members of a sweep as one program beside the same runs one by one: processor seconds a member, for 1 to 32 of them.

    python benchmarks/sweep.py                                            # digits/simclr, 1, 2, 4, 8, 16 and 32 members
    python benchmarks/sweep.py --members 1 4 16 --epochs=8                # minutes on a CPU
    python benchmarks/sweep.py --config=cifar10/simclr --width=32 optimizer.precision=bfloat16      # on a GPU

Members differ in learning rate and temperature. Together is `engine.sweep.train`, which `selfsup sweep --together`
calls; apart is `engine.loop.train` of one member, which `selfsup sweep` calls without it: with monitor, log and
checkpoint, up to the evaluation that ends a run. Both compile what they run, since nothing is cached between them.
Processor time is that of all threads, so that a busy machine matters little; on an accelerator read the clock's column.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from selfsup import config
from selfsup.engine import loop, sweep

MOST = 32
REPEATS = 3  # runs apart, whose median is taken


def spread(count: int) -> list[dict[str, float]]:
    """Learning rates and temperatures of the members, both over a decade."""
    rates, temperatures = np.geomspace(6e-4, 6e-3, 8), np.geomspace(0.1, 1.0, 4)
    values = [(float(r), float(t)) for t in temperatures for r in rates]
    return [{'optimizer.learning_rate': r, 'method.temperature': t} for r, t in values[:count]]


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of this process, and seconds by the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return time.process_time() - processor, time.perf_counter() - clock


def apart(path: str, overrides: list[str], member: dict[str, float], epochs: int) -> tuple[float, float]:
    """One member as a run of its own, up to the epoch after which it would be evaluated."""
    words = [*overrides, *(f'{name}={value}' for name, value in member.items())]
    run: ConfigDict = config.load(path, [*words, f'train.epochs={epochs + 1}'])
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: loop.train(run, str(Path(folder) / 'run'), until=epochs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('overrides', nargs='*', help='field=value')
    parser.add_argument('--config', default='digits/simclr')
    parser.add_argument('--members', nargs='+', type=int, default=[1, 2, 4, 8, 16, 32], metavar='N')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--width', type=int, default=0, help='side by side; by default 1 on a CPU, else all')
    arguments = parser.parse_args()
    if not all(1 <= count <= MOST for count in arguments.members):
        parser.error(f'--members must lie in 1..{MOST}')
    os.environ['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
    import jax

    print(f'{jax.devices()[0].platform}, {platform.machine()}, jax {jax.__version__}, {arguments.config}, ', end='')
    print(f'{arguments.epochs} epochs, width {arguments.width or "by default"}')
    alone = [apart(arguments.config, arguments.overrides, m, arguments.epochs) for m in spread(REPEATS)]
    processor, clock = (statistics.median(column) for column in zip(*alone, strict=True))
    print('| members | processor, s a member | clock, s a member | processor, of a run apart |')
    print('| --- | ---: | ---: | ---: |')
    print(f'| apart | {processor:.1f} | {clock:.1f} | 1 |', flush=True)
    run = config.load(arguments.config, [*arguments.overrides, f'train.epochs={arguments.epochs}'])
    for count in arguments.members:
        members = spread(count)
        used, took = timed(lambda members=members: sweep.train(run, members, width=arguments.width))
        print(f'| {count} | {used / count:.1f} | {took / count:.1f} | {used / count / processor:.2f} |', flush=True)


if __name__ == '__main__':
    main()
