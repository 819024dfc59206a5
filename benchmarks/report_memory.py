"""Peak memory of a report against the number of training images, which are made by a formula as they are read.

    python benchmarks/report_memory.py                            # 2,000, 8,000 and 32,000 images of 128 pixels
    python benchmarks/report_memory.py --counts 200000 --size 128

Each count runs in a process of its own, whose peak resident set is read from the system. A small encoder of random
weights encodes a training set of so many images and 500 test images, as the end of a run does, with its untrained
control and without raw pixels (whose row has a limit of its own, `report.MOST_PIXELS`). `features` are those of the
training set by both encoders, which are held.
"""

import argparse
import resource
import subprocess
import sys
from typing import Any

import numpy as np
from selfsup import config
from selfsup.data.sources import Source
from selfsup.engine import build, report
from selfsup.engine.encoder import Encoder

TEST = 500


class Formula:
    """Images by a formula, in the place of files: a saw-tooth whose direction and colours depend on the number."""

    def __init__(self, size: int):
        self._y, self._x = (axis.astype(np.uint8)[..., None] for axis in np.mgrid[:size, :size])
        self._colours = np.array([1, 3, 5], np.uint8)

    def array(self, index: int) -> np.ndarray:
        slope, start = np.uint8(1 + index % 10), np.uint8(index % 251)
        return (self._y * slope + self._x + start) * self._colours


def source(name: str, count: int, size: int) -> Source:
    reader: Any = Formula(size)
    return Source(name, reader, np.arange(count) % 10, [str(c) for c in range(10)], name)


def measure(count: int, size: int) -> None:
    """Prints the peak before the report and at its end, in MiB, and the width of the features."""
    report.MOST_PIXELS = 0  # that row has a limit of its own
    chosen = config.load(
        'experiments/cifar10/simclr.py',
        ['model.name=vit_ti', 'model.depth=1', 'model.dim=64', 'model.heads=2', 'projector.widths=(32, 16)'],
    )
    method = build.build_method(chosen, steps=1)
    train, test = source('train', count, size), source('test', TEST, size)
    prepare = build.build_preparation(chosen)
    import jax

    first = prepare(np.stack([test.reader.array(i) for i in range(2)]))
    params, extra = method.init(jax.random.key(0), {'views': (first, first)})
    encoder = Encoder(chosen, method, params, extra, 0)
    data = build.Data(train, test, train, test)

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    report.representations(data._replace(labelled=test), encoder, encoder)  # compiles
    before = peak()
    width = report.representations(data, encoder, encoder).test.features.shape[1]
    print(before, peak(), width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--counts', type=int, nargs='+', default=[2000, 8000, 32000])
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--one', type=int, default=0, help='measure one count in this process')
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.size)
        return
    print('| images | as uint8, MiB | features, MiB | peak before, MiB | peak after, MiB |')
    print('| ---: | ---: | ---: | ---: | ---: |')
    for count in options.counts:
        command = [sys.executable, __file__, f'--one={count}', f'--size={options.size}']
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        before, after, width = map(float, done.stdout.splitlines()[-1].split())
        held = 2 * count * width * 4 / 2**20
        print(f'| {count:,} | {count * options.size**2 * 3 / 2**20:,.0f} | {held:.1f} | {before:,.0f} | {after:,.0f} |')


if __name__ == '__main__':
    main()
