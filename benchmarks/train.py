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

import numpy as np

NETWORKS = ('resnet18', 'convnet', 'vit_ti')
RIVALS = ('eager', 'compiled')
SIZE, TEMPERATURE, LEARNING_RATE, MOMENTUM = 32, 0.2, 0.05, 0.9
HEAD = (512, 128)
WIDTHS = (32, 64, 128)
PATCH = 4


def pictures(batch: int) -> np.ndarray:
    """Two views of random images, `[2, batch, 32, 32, 3]`."""
    return np.random.default_rng(0).normal(size=(2, batch, SIZE, SIZE, 3)).astype(np.float32)


def torch_network(name: str) -> Any:
    """The reference's encoder and the width of its features."""
    import torch
    from torch import nn

    if name == 'convnet':
        layers, before = [], 3
        for index, width in enumerate(WIDTHS):
            conv = nn.Conv2d(before, width, 3, stride=1 if index == 0 else 2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before
    if name == 'resnet18':
        from torchvision.models import resnet18

        network = resnet18()
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool, network.fc = nn.Identity(), nn.Identity()
        return network, 512

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 192, PATCH, stride=PATCH)
            self.token = nn.Parameter(torch.zeros(1, 1, 192))
            self.positions = nn.Parameter(torch.randn(1, 1 + (SIZE // PATCH) ** 2, 192) * 0.02)
            layer = nn.TransformerEncoderLayer(192, 3, 768, 0.0, 'gelu', 1e-6, batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(192, eps=1e-6)

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
            return self.norm(self.blocks(x))[:, 0]

    return ViT(), 192


def rival(name: str, kind: str, batch: int) -> Callable[[], float]:
    """PyTorch's step; gives the loss."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    encoder, width = torch_network(name)
    head = nn.Sequential(nn.Linear(width, HEAD[0]), nn.BatchNorm1d(HEAD[0]), nn.ReLU(), nn.Linear(*HEAD))
    network = nn.Sequential(encoder, head).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    views = torch.from_numpy(pictures(batch)).flatten(0, 1).permute(0, 3, 1, 2)
    views = views.contiguous(memory_format=torch.channels_last)
    places = torch.arange(2 * batch)

    def loss_of(x: Any) -> Any:
        z = nn.functional.normalize(network(x), dim=1)
        similar = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(2 * batch, dtype=torch.bool), float('-inf'))
        return nn.functional.cross_entropy(similar, (places + batch) % (2 * batch))

    compute = torch.compile(loss_of) if kind == 'compiled' else loss_of

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = compute(views)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def ours(name: str, batch: int) -> Callable[[], float]:
    """The engine's step; gives the loss."""
    import jax
    from selfsup import methods, models, optim
    from selfsup.engine.step import init_state, make_step

    fields: Any = {'resnet18': {'stem': 'cifar'}, 'convnet': {'widths': WIDTHS}, 'vit_ti': {'patch': PATCH}}[name]
    method = methods.simclr(models.ENCODERS[name](**fields), models.MLP(widths=HEAD), temperature=TEMPERATURE)
    optimizer = optim.optimizer('sgd', lambda step: LEARNING_RATE, peak=LEARNING_RATE, momentum=MOMENTUM)
    views = tuple(jax.device_put(view) for view in pictures(batch))
    step = make_step(
        method,
        optimizer,
        lambda step: LEARNING_RATE,
        lambda key, images, positions, sources: ((images[:, 0], images[:, 1]), ({}, {})),
        seed=0,
        probe_rate=1e-3,
    )
    state = jax.jit(lambda: init_state(method, optimizer, {'views': views}, seed=0, classes=10))()
    rows = {
        'input': jax.numpy.stack(views, axis=1),
        'label': jax.numpy.arange(batch) % 10,
        'index': jax.numpy.arange(batch),
    }
    run = jax.jit(step, donate_argnums=0)
    held = [state]

    def one() -> float:
        held[0], metrics = run(held[0], rows)
        return float(metrics['loss'])

    return one


def serve() -> None:
    """Reads `[network, kind, batch]` per line and answers with seconds, or with why there are none."""
    import torch

    torch.set_num_threads(2)
    made: dict[str, Callable] = {}
    for line in sys.stdin:
        try:
            if line not in made:
                made[line] = rival(*json.loads(line))
                made[line]()
            begun = time.perf_counter()
            made[line]()
            print(json.dumps(time.perf_counter() - begun), flush=True)
        except (ImportError, RuntimeError) as error:
            print(json.dumps(str(error).strip().splitlines()[0]), flush=True)


def compare(name: str, batch: int, rounds: int, reference: Any, kinds: list[str]) -> None:
    """Rows of the table for one network."""
    step = ours(name, batch)
    step()
    times: dict[str, list[float]] = {'ours': []}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        begun = time.perf_counter()
        step()
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
