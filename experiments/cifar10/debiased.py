"""Debiased contrastive learning with hard negatives (HCL) on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/debiased.py --workdir=runs/cifar10/debiased

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: none with this recipe; the authors train ResNet-50 with Adam.
Debiased alone: --config.method.concentration=0.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('debiased')
    c.method.temperature = 0.5  # the authors'
    c.method.positive_prior = 0.1
    c.method.concentration = 1.0
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-4)  # x batch / 256
    return c
