"""I-Con with debiased neighbourhoods on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/icon.py --workdir=runs/cifar10/icon

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: none with this recipe; the authors' debiased results are of
clusters of frozen features.
"""

from common import as_simclr


def get_config():
    c = as_simclr('icon')
    c.method.temperature = 0.5
    c.method.learned_leak = 0.2
    return c
