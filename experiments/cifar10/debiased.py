"""Debiased contrastive learning with hard negatives (HCL) on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/debiased.py --workdir=runs/cifar10/debiased

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: none with this recipe; the authors train ResNet-50 with Adam.
Debiased alone: --config.method.concentration=0.
"""

from common import as_simclr


def get_config():
    c = as_simclr('debiased')
    c.method.temperature = 0.5  # the authors'
    c.method.positive_prior = 0.1
    c.method.concentration = 1.0
    return c
