"""What both halves of `peers.py` read: the recipes as numbers, the schedule, and how a half answers the command.

Imports neither jax nor torch, so that either half runs where the other's libraries are missing.
"""

import json
import math
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

WIDTHS, FIRST_STRIDE = (32, 64, 128), 2  # of the encoder, `selfsup.models.ConvNet`
SIDE = 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# AdamW, decay of matrices and kernels alone; the warm-up is linear from 0, the cosine ends at 0, both by the step.
LEARNING_RATE, WEIGHT_DECAY, BETAS, WARMUP_EPOCHS = 2e-3, 1e-4, (0.9, 0.999), 1
ENCODED_AT_ONCE = 500


class Recipe(NamedTuple):
    """One method.

    Attributes:
      title: its name in tables.
      head: widths of the projector's layers, batch-norm and ReLU between them.
      least: smallest share of the image that a crop keeps.
      colours: strengths of brightness, contrast, saturation and hue, applied with probability 0.8; grey 0.2.
      solarise: probability in the first and in the second view.
      predictor: widths of the predictor's layers; () for none.
      hidden_norm: batch-norm after the hidden layers of the projector; the layer before one has no bias.
      last_norm: batch-norm after its last layer too.
      numbers: keywords of our method; lightly's half reads them by name.
      method: the name of our method; '' is that of the recipe.
      own_start: our target network starts with weights of its own, as in BYOL's code; else as a copy, as in lightly.
    """

    title: str
    head: tuple[int, ...]
    least: float
    colours: tuple[float, float, float, float]
    solarise: tuple[float, float]
    numbers: dict[str, Any]
    predictor: tuple[int, ...] = ()
    hidden_norm: bool = True
    last_norm: bool = False
    method: str = ''
    own_start: bool = False


_STRONG, _WEAK = (0.4, 0.4, 0.4, 0.1), (0.4, 0.4, 0.2, 0.1)
# Heads, temperatures, weights and augmentations are lightly's for small images (its CIFAR-10 benchmark, which does not
# blur, and its examples), with narrower heads for a narrower encoder.
RECIPES = {
    'barlow_twins': Recipe('Barlow Twins', (512, 512, 512), 0.08, _WEAK, (0.0, 0.2), {'lambd': 5e-3}),
    'byol': Recipe('BYOL', (512, 128), 0.08, _WEAK, (0.0, 0.2), {'momentum': 0.99}, predictor=(512, 128)),
    'moco_v2': Recipe(
        'MoCo v2', (512, 128), 0.2, _STRONG, (0.0, 0.0),
        {'temperature': 0.2, 'queue': 2048, 'momentum': 0.99}, hidden_norm=False,
    ),
    'simclr': Recipe('SimCLR', (512, 128), 0.08, _STRONG, (0.0, 0.0), {'temperature': 0.5}, last_norm=True),
    'vicreg': Recipe(
        'VICReg', (512, 512, 512), 0.08, _WEAK, (0.1, 0.1),
        {'invariance_weight': 25.0, 'variance_weight': 25.0, 'covariance_weight': 1.0},
    ),
}  # fmt: skip

# What tells why BYOL would differ: ours as it is by default, lightly's as ever.
RECIPES['byol_own_start'] = RECIPES['byol']._replace(title='BYOL, own start', method='byol', own_start=True)
METHODS = tuple(name for name, recipe in RECIPES.items() if not recipe.method)


class Job(NamedTuple):
    """One run of one half.

    Attributes:
      data: the file that :func:`peers.prepare` wrote.
      source, data_dir, per_class: the same data as our half reads them.
      threads: that compute in a half, whichever core they run on.
    """

    method: str
    seed: int
    epochs: int
    batch: int
    data: str
    source: str
    data_dir: str
    per_class: int
    threads: int


def rate_share(step: int, *, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at a step: linear from 0 over `warmup`, then a half cosine to 0 at `steps`."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min((step - warmup) / max(steps - warmup, 1), 1.0)))


class Half(Protocol):
    """What a half gives."""

    def about(self) -> dict[str, str]:
        """Versions of what it runs with."""

    def epoch(self) -> float:
        """Trains one epoch; the mean loss."""

    def steps(self, file: str, count: int) -> list[float]:
        """Losses of the first steps (:func:`peers.agreement`): ours writes what it starts with, lightly's reads it."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features `[n, dim]` of uint8 images `[n, side, side, 3]`, batch statistics as they run."""


def serve(make: Any) -> None:
    """Answers `epoch`, `features FILE` and `steps FILE COUNT` with a line of JSON each, until the input ends.

    The first line is told when the half is ready to train; its `processor` is all that came before. Seconds are the
    clock's and the processor's, of this process with all its threads; `memory` is the largest resident size so far, in
    MiB.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not meet the answers
    job = Job(**json.loads(sys.argv[-1]))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[: job.threads])  # XLA starts as many threads as it sees cores

    def answer(clock: float, processor: float, **more: Any) -> None:
        told = {'seconds': time.perf_counter() - clock, 'processor': time.process_time() - processor, **more}
        print(json.dumps(told | {'memory': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), file=answers)
        answers.flush()

    half: Half = make(job)
    for thread in os.listdir('/proc/self/task'):
        os.sched_setaffinity(int(thread), cores)
    answer(time.perf_counter(), 0.0, about=half.about())
    for line in sys.stdin:
        clock, processor = time.perf_counter(), time.process_time()
        command, _, rest = line.strip().partition(' ')
        if command == 'epoch':
            answer(clock, processor, loss=half.epoch())
        elif command == 'steps':
            file, _, count = rest.rpartition(' ')
            answer(clock, processor, losses=half.steps(file, int(count)))
        else:
            with np.load(job.data) as data:
                found = {part: half.features(data[part]) for part in ('labelled', 'test')}
            np.savez(Path(rest), **found)
            answer(clock, processor)
