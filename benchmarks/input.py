"""The streaming path on JPEGs of ImageNet-like size: images/s of a worker, and the share of a step spent waiting.

    python benchmarks/input.py                    # makes JPEGs of 500 x 375 pixels in a temporary folder
    python benchmarks/input.py --data=folder:...  # or reads yours
    python benchmarks/input.py --step-ms=200      # waiting beside a step of 200 ms

Rates are of one process on one core, in images/s. `bare` opens and decodes each file with Pillow (and OpenCV where
it is installed) and does nothing else. `whole` is the feed's own worker on whole images (one size, no crop), `views`
the same with two random resized crops of 224 from each full image, bicubic (data.crop=reading), and `canvas` where the
device takes those crops (data.crop=canvas). The second table has the images packed by selfsup.pack to a shorter side
of 256, beside bare decoding of those. All are measured in turn, round by round, in the
environment that worker processes have; ratios are medians over rounds. CPU seconds are counted, so that a busy machine
does not blur them.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from selfsup import augment, pack
from selfsup.data import batches, crop_boxes, loader, readers, sources, workers

VIEWS = {'both': {'size': 224, 'count': 2, 'crop': {'scale': (0.08, 1.0), 'method': 'bicubic'}, 'flip': 0.5}}


def photographs(folder: Path, count: int) -> None:
    """JPEGs with the size and the bytes of ImageNet's: texture at all scales, quality 92."""
    generator = np.random.default_rng(0)
    (folder / 'all').mkdir(parents=True)
    for number in range(count):
        height, width = (375, 500) if number % 3 else (500, 375)
        image = np.zeros((height, width, 3), np.float32)
        for scale, weight in ((100, 60), (25, 30), (6, 14), (1, 16)):
            coarse = generator.normal(size=(height // scale + 2, width // scale + 2, 3)).astype(np.float32)
            planes = [
                Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)
            ]
            image += weight * np.stack([np.asarray(p) for p in planes], -1)
        pixels = np.clip(image + 120, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / 'all' / f'{number:05d}.jpg', quality=92)


def bare(source: sources.Source, numbers: range) -> Callable[[], None]:
    """Decoding with Pillow and nothing else."""

    def run() -> None:
        for number in numbers:
            with source.reader.picture(number) as picture:
                picture.load()

    return run


def opencv(source: sources.Source, numbers: range) -> Callable[[], None] | None:
    """Decoding with OpenCV and nothing else, if it is here."""
    if importlib.util.find_spec('cv2') is None or not isinstance(source.reader, readers.Files):
        return None
    import cv2

    files = [str(source.reader.paths[number]) for number in numbers]

    def run() -> None:
        for file in files:
            cv2.imread(file)

    return run


def reading(source: sources.Source, count: int, crops: Any, canvas: int = 0) -> Callable[[], None]:
    """One step of a feed's worker, in this process."""
    work = batches.Work(
        source.reader, source.name, len(source), source.spec, 0, count, (0, count), crops, 3, canvas=canvas
    )
    rows = batches.Rows(work)
    step = iter(range(10**9))
    out = rows(0)  # a worker process writes into the same memory again and again
    return lambda: rows(next(step), out) and None


def cropping(source: sources.Source, count: int, crops: Any, canvas: int) -> dict[str, Callable[[], None]]:
    """Bare decoding, and both ways to take crops of full images."""
    return {
        'bare': bare(source, range(count)),
        'views': reading(source, count, crops),
        'canvas': reading(source, count, crops, canvas),
    }


def measure(runs: dict[str, Callable[[], None]], count: int, rounds: int) -> dict[str, list[float]]:
    """Images per CPU second of each, all in turn."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for name in runs:
        runs[name]()
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            run()
            rates[name].append(count / (time.process_time() - started))
    return rates


def waiting(source: sources.Source, batch: int, step_ms: float, processes: int, steps: int) -> tuple[float, float]:
    """(images/s, share of the time spent waiting) of the whole feed beside a device that works `step_ms` a step."""
    import jax
    from selfsup import parallel

    feed = loader.make_feed(
        'streaming', source, seed=0, batch_size=batch, mesh=parallel.data_mesh(1), workers=processes,
        crops=crop_boxes.crops(augment.expand(VIEWS)), channels=3,
    )  # fmt: skip
    jax.block_until_ready(feed(0, 1))
    before, started = feed.waited, time.perf_counter()
    for step in range(1, steps + 1):
        jax.block_until_ready(feed(step, 1))
        time.sleep(step_ms / 1e3)  # the device's work, which takes no core of the host
    taken = time.perf_counter() - started
    share = (feed.waited - before) / taken
    feed.close()
    return steps * batch / taken, share


def table(rates: dict[str, list[float]], reference: str) -> None:
    print('| | images per core second | of ' + reference + ' |\n| --- | --- | --- |')
    for name, rows in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rows, rates[reference], strict=True))
        print(f'| {name} | {statistics.median(rows):,.0f} | {ratio:.2f} |')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', default='', help='folder:<path>; by default JPEGs made here')
    parser.add_argument('--images', type=int, default=256)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--step-ms', type=float, default=1000.0)
    parser.add_argument('--batch', type=int, default=64)
    arguments = parser.parse_args()
    if not os.environ.keys() >= workers.MEMORY.keys():  # read when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**workers.MEMORY, **os.environ})
    print(f'{platform.machine()}, Pillow {Image.__version__}, Python {platform.python_version()}')
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        if not arguments.data:
            photographs(root / 'made', arguments.images)
        source = sources.open_source(arguments.data or f'folder:{root / "made"}', test_fraction=0.05)[0]
        count = min(64, len(source))
        sizes = [source.reader.picture(i).size for i in range(count)]
        square = sources.fitted(source, channels=3)
        same = square.select(np.flatnonzero([size == sizes[1] for size in sizes]), 'of one size')
        crops = crop_boxes.crops(augment.expand(VIEWS))
        few = min(count, len(same))
        rates = measure({'bare': bare(same, range(few)), 'whole': reading(same, few, ())}, few, arguments.rounds)
        runs = cropping(source, count, crops, 512)
        if opencv(source, range(count)):
            runs['bare, OpenCV'] = opencv(source, range(count))
        print(f'\nfolder, {sizes[1]} and alike')
        table(rates, 'bare')
        print()
        table(measure(runs, count, arguments.rounds), 'bare')
        pack.main([f'--data={arguments.data or f"folder:{root}/made"}', f'--out={root / "packed"}'])
        packed = sources.open_source(f'shards:{root / "packed"}')[0]
        print('\npacked to a shorter side of 256')
        count = min(count, len(packed))
        runs = cropping(packed, count, crops, 384)
        table(measure(runs, count, arguments.rounds), 'bare')
        print(
            f'\nthe feed: two views of 224 from packed images, batch {arguments.batch}, {arguments.step_ms:g} ms a step'
        )
        for processes in arguments.workers:
            rate, share = waiting(packed, arguments.batch, arguments.step_ms, processes, 8)
            print(f'{processes} worker processes: {rate:,.0f} images/s, waiting {share:.0%} of the time')


if __name__ == '__main__':
    main()
