"""Two SimCLR views of each image: ours compiled, beside torchvision's transforms and kornia's, and beside a step.

    python benchmarks/augment.py --reference=PYTHON             # 32 x 32 and 224 x 224; minutes on two cores
    python benchmarks/augment.py --operations                   # ours, operation by operation
    python benchmarks/augment.py --step=resnet50 --batch=256    # share of a training step (for accelerators)

PYTHON is the interpreter of an environment with torch, torchvision, pillow and, if wanted, kornia; without it ours
is timed alone. The recipe is SimCLR's with colour strength 1 and Pillow's blur where Pillow works, a sampled
Gaussian where tensors do. References: `pillow` is torchvision's transforms one image at a time on Pillow images in
two processes, as two data-loader workers do; `tensor` its v2 transforms likewise on uint8 tensors; `batch` the same
on a whole batch in one process with two threads (all images of a batch then share one draw: no fair rival, but
quoted as one); `kornia` its own, one draw per image, likewise. Every round times all in turn, so that a busy
machine slows all alike; ratios are medians over rounds of ours over theirs. Images/s count images, not views.

Published for a GPU, not measured here: stable-pretraining's profile of kornia on an H200 with ViT-S/16, 256 images
of 224 x 224, two views: 234 ms of a step's 333 ms, that is 1,100 images/s for the augmentation alone.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RIVALS = ('pillow', 'tensor', 'batch', 'kornia')
# Images of one timing: a tenth of a second of work for most.
COUNTS = {
    'ours': {32: 512, 224: 16},
    'pillow': {32: 96, 224: 16},
    'tensor': {32: 64, 224: 8},
    'batch': {32: 128, 224: 8},
    'kornia': {32: 32, 224: 8},
}


def pictures(count: int, size: int) -> np.ndarray:
    """Smooth random pictures, uint8."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 5, 5, 3)).astype(np.float32)
    place = np.linspace(0, 3.999, size)
    low, part = place.astype(int), (place % 1).astype(np.float32)
    rows = coarse[:, low] * (1 - part[:, None, None]) + coarse[:, low + 1] * part[:, None, None]
    return (rows[:, :, low] * (1 - part[:, None]) + rows[:, :, low + 1] * part[:, None]).astype(np.uint8)


def rival(kind: str, size: int, count: int, share: int) -> Callable[[], None]:
    """A function that makes two views of this process's share of the images with another library."""
    import torch

    images = pictures(count, size)[: count // share]
    kernel = 2 * (size // 20) + 1
    mean = std = (0.5, 0.5, 0.5)
    if kind == 'kornia':
        from kornia import augmentation as theirs

        steps = [
            theirs.RandomResizedCrop((size, size), scale=(0.08, 1.0), resample='bicubic'),
            theirs.RandomHorizontalFlip(),
            theirs.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8), theirs.RandomGrayscale(p=0.2),
            theirs.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
            theirs.Normalize(torch.tensor(mean), torch.tensor(std)),
        ]  # fmt: skip
        recipe = torch.nn.Sequential(*steps)
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

        def run() -> None:
            floats = batch.float() / 255
            recipe(floats), recipe(floats)

        return run
    from torchvision.transforms import v2

    generator = np.random.default_rng(1)

    class PillowBlur:
        def __call__(self, image: Any) -> Any:
            from PIL import ImageFilter

            return image.filter(ImageFilter.GaussianBlur(generator.uniform(0.1, 2.0)))

    blur = PillowBlur() if kind == 'pillow' else v2.GaussianBlur(kernel, (0.1, 2.0))
    recipe = v2.Compose([
        v2.RandomResizedCrop(size, (0.08, 1.0), interpolation=v2.InterpolationMode.BICUBIC), v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8), v2.RandomGrayscale(0.2),
        v2.RandomApply([blur], 0.5), v2.PILToTensor() if kind == 'pillow' else v2.Identity(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std),
    ])  # fmt: skip
    if kind == 'batch':
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

        def whole() -> None:
            recipe(batch), recipe(batch)

        return whole
    if kind == 'pillow':
        from PIL import Image

        rows: list[Any] = [Image.fromarray(image) for image in images]
    else:
        rows = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]

    def each() -> None:
        for row in rows:
            recipe(row), recipe(row)

    return each


def use_threads(share: int) -> None:
    """Two threads for a process alone, one for each of two."""
    import torch

    torch.set_num_threads(1 if share > 1 else 2)


def serve() -> None:
    """Reads `[kind, size, count, share]` per line and answers with `[wall seconds, CPU seconds]`."""
    made: dict[str, Callable] = {}
    for line in sys.stdin:
        if line not in made:
            try:
                made[line] = rival(*json.loads(line))
                use_threads(json.loads(line)[-1])
                made[line]()
            except ImportError as error:
                print(json.dumps(str(error)), flush=True)
                continue
        use_threads(json.loads(line)[-1])
        wall, cpu = time.perf_counter(), time.process_time()
        made[line]()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


class Rivals:
    """Two processes of the reference environment."""

    def __init__(self, python: str):
        command = [python, '-W', 'ignore', str(Path(__file__).resolve()), '--serve']
        quiet = {**os.environ, 'OMP_WAIT_POLICY': 'PASSIVE'}  # waiting threads must not count as work
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)
            for _ in range(2)
        ]

    def time(self, kind: str, size: int) -> tuple[float, float] | None:
        """(wall, CPU) seconds for `COUNTS` images, or None where the library is missing."""
        share = 2 if kind in ('pillow', 'tensor') else 1
        request = json.dumps([kind, size, COUNTS[kind][size], share]) + '\n'
        asked = self._processes[:share]
        for process in asked:
            process.stdin.write(request)
            process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for process in asked]
        if any(isinstance(answer, str) for answer in answers):
            return None
        return max(a[0] for a in answers), sum(a[1] for a in answers)

    def close(self) -> None:
        for process in self._processes:
            process.stdin.close()
            process.wait()


def compiled(spec: dict[str, Any], size: int, count: int) -> Callable[[int], None]:
    """Ours, as a function of a step number."""
    import jax
    import jax.numpy as jnp
    from selfsup import augment

    views = augment.make_views({'both': spec})
    run = jax.jit(lambda step, x: views(jax.random.fold_in(jax.random.key(0), step), x, jnp.arange(count))[0])
    images = jax.device_put(pictures(count, size))
    jax.block_until_ready(run(0, images))
    return lambda step: jax.block_until_ready(run(step, images)) and None


def recipe(size: int) -> dict[str, Any]:
    """SimCLR's views at colour strength 1 with Pillow's blur."""
    from selfsup import augment

    return augment.RECIPES['solo_symmetric'](size)['both']


def timed(function: Callable, number: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function(number)
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(size: int, rounds: int, python: str) -> None:
    """A table of one size."""
    ours = compiled(recipe(size), size, COUNTS['ours'][size])
    rivals = Rivals(python) if python else None
    times: dict[str, list[tuple[float, float]]] = {'ours': []}
    for number in range(rounds):
        times['ours'].append(timed(ours, number))
        for kind in RIVALS if rivals else ():
            found = rivals.time(kind, size)
            if found is not None:
                times.setdefault(kind, []).append(found)
    if rivals:
        rivals.close()
    rates = {kind: [(COUNTS[kind][size] / w, COUNTS[kind][size] / c) for w, c in rows] for kind, rows in times.items()}
    print(f'\n{size} x {size}, {rounds} rounds\n')
    print('| | images/s | images per core second | ours is faster by, wall | per core |')
    print('| --- | --- | --- | --- | --- |')
    for kind, rows in rates.items():
        wall, cpu = (statistics.median(r[i] for r in rows) for i in range(2))
        faster = [statistics.median(a[i] / b[i] for a, b in zip(rates['ours'], rows, strict=True)) for i in range(2)]
        print(f'| {kind} | {wall:,.0f} | {cpu:,.0f} | {faster[0]:.2f} | {faster[1]:.2f} |')


def operations(size: int, rounds: int) -> None:
    """What each operation adds to a view that is only converted and normalised."""
    spec, count = recipe(size), COUNTS['ours'][size]
    common = {name: spec[name] for name in ('size', 'count')}
    parts = {'nothing': {**common, 'flip': 0.0}, 'all': spec}
    parts |= {name: {**common, name: spec[name]} for name in ('crop', 'flip', 'jitter', 'grey', 'blur')}
    runs = {name: compiled(part, size, count) for name, part in parts.items()}
    times = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            times[name].append(timed(run, number)[1])
    base = min(times['nothing'])
    print(f'\n{size} x {size}, {count} images, two views: core milliseconds, least of {rounds}\n')
    for name, rows in times.items():
        print(
            f'{name:8s} {1e3 * min(rows):8.1f}'
            + ('' if name in ('nothing', 'all') else f'  (+{1e3 * (min(rows) - base):.1f})')
        )


def step_share(name: str, batch: int, size: int, rounds: int) -> None:
    """The augmentation's time beside that of a forward and backward pass of two views in bfloat16."""
    import jax
    import jax.numpy as jnp
    from selfsup import models

    COUNTS['ours'][size] = batch
    views = compiled(recipe(size), size, batch)
    encoder = models.ENCODERS[name](dtype=jnp.bfloat16)
    x = jnp.zeros((2 * batch, size, size, 3), jnp.float32)
    variables = jax.jit(lambda k: encoder.init(k, x[:2], train=True))(jax.random.key(0))
    rest = {k: v for k, v in variables.items() if k != 'params'}

    def loss(params: Any, x: jax.Array) -> jax.Array:
        out, _ = encoder.apply({'params': params, **rest}, x, train=True, mutable=list(rest))
        return jnp.mean(jnp.square(jax.tree.leaves(out)[0].astype(jnp.float32)))

    gradient = jax.jit(jax.grad(loss))
    jax.block_until_ready(gradient(variables['params'], x))
    both = [
        (timed(views, n)[0], timed(lambda _: jax.block_until_ready(gradient(variables['params'], x)), n)[0])
        for n in range(rounds)
    ]
    views_ms, step_ms = (1e3 * statistics.median(row[i] for row in both) for i in range(2))
    print(f'{name}, {batch} images of {size} x {size}, two views, {jax.devices()[0].device_kind}')
    print(f'augmentation {views_ms:.1f} ms, forward and backward {step_ms:.1f} ms: {views_ms / step_ms:.1%} of it')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', default='', help='interpreter of an environment with torch and torchvision')
    parser.add_argument('--sizes', type=int, nargs='+', default=[32, 224], choices=[32, 224])
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--operations', action='store_true')
    parser.add_argument('--step', default='', help='an encoder of selfsup.models, e.g. resnet50 or vit_small')
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    import jax

    print(
        f'{jax.devices()[0].platform}, {platform.machine()}, jax {jax.__version__}, Python {platform.python_version()}'
    )
    if arguments.step:
        step_share(arguments.step, arguments.batch, arguments.sizes[-1], arguments.rounds)
        return
    for size in arguments.sizes:
        if arguments.operations:
            operations(size, arguments.rounds)
        else:
            compare(size, arguments.rounds, arguments.reference)


if __name__ == '__main__':
    main()
