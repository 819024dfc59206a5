"""Peak memory of report, embed and evaluate against the number of training images, made by a formula as they are read.

    python benchmarks/report_memory.py                            # 2,000, 8,000 and 32,000 images of 128 pixels
    python benchmarks/report_memory.py --counts 200000 --size 128
    python benchmarks/report_memory.py --of embed                 # or evaluate

Each count runs in a process of its own, whose peak resident set is read from the system. A small encoder of random
weights encodes a training set of so many images and 500 test images, as the end of a run does, with its untrained
control and without raw pixels (whose row has a limit of its own, `report.MOST_PIXELS`). `embed` writes the features of
both parts by one encoder, and `evaluate` has them and takes k-NN, the logistic probe, clustering and ranks. `features`
are those of the training set that are held: by both encoders, or by the one.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import config, embed
from selfsup.data.sources import Source
from selfsup.engine import build, evaluations, images, report
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


def run_report(encoder: Encoder, data: build.Data) -> int:
    return report.representations(data, encoder, encoder).test.features.shape[1]


def run_embed(encoder: Encoder, data: build.Data) -> int:
    arrays = {}
    for name, part in (('train', data.labelled), ('test', data.test)):
        arrays[f'{name}_features'], arrays[f'{name}_index'] = images.encoded(encoder, part, batch_size=512)
    with tempfile.TemporaryDirectory() as folder:
        embed.written(Path(folder) / 'features.npz', arrays)
    return arrays['test_features'].shape[1]


def run_evaluate(encoder: Encoder, data: build.Data) -> int:
    evaluations.of_encoder(
        encoder, {'train': data.labelled, 'test': data.test}, evaluations.chosen('default', images=True)
    )
    return images.encoded(encoder, data.test, batch_size=512)[0].shape[1]


# What is measured -> its function, which gives the width of the features, and how many encoders' features it holds.
MEASURED = {'report': (run_report, 2), 'embed': (run_embed, 1), 'evaluate': (run_evaluate, 1)}


def measure(what: str, count: int, size: int) -> None:
    """Prints the peak before and at its end, in MiB, and the width of the features."""
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

    MEASURED[what][0](encoder, data._replace(labelled=test))  # compiles
    before = peak()
    width = MEASURED[what][0](encoder, data)
    print(before, peak(), width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--counts', type=int, nargs='+', default=[2000, 8000, 32000])
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--of', choices=MEASURED, default='report')
    parser.add_argument('--one', type=int, default=0, help='measure one count in this process')
    options = parser.parse_args()
    if options.one:
        measure(options.of, options.one, options.size)
        return
    print('| images | as uint8, MiB | features, MiB | peak before, MiB | peak after, MiB |')
    print('| ---: | ---: | ---: | ---: | ---: |')
    for count in options.counts:
        command = [sys.executable, __file__, f'--one={count}', f'--size={options.size}', f'--of={options.of}']
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        before, after, width = map(float, done.stdout.splitlines()[-1].split())
        held = MEASURED[options.of][1] * count * width * 4 / 2**20
        print(f'| {count:,} | {count * options.size**2 * 3 / 2**20:,.0f} | {held:.1f} | {before:,.0f} | {after:,.0f} |')


if __name__ == '__main__':
    main()
