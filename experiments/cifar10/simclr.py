"""SimCLR on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/simclr.py --workdir=runs/cifar10/simclr

Hardware, time, result: not run yet. solo-learn publishes 90.74 (online linear probe, one run).
"""

from common import as_simclr


def get_config():
    c = as_simclr('simclr')
    c.method.temperature = 0.2
    return c
