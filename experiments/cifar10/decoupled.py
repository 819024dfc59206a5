"""Decoupled contrastive learning (DCL) on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/decoupled.py --workdir=runs/cifar10/decoupled

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: 85.4 linear after 200 epochs at batch 256.
DCLW: --config.method.sigma=0.5.
"""

from common import as_simclr


def get_config():
    c = as_simclr('decoupled')
    c.method.temperature = 0.1  # lower than SimCLR's 0.2 there: the ports' default
    return c
