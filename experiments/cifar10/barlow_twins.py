"""Barlow Twins on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/barlow_twins.py --workdir=runs/cifar10/barlow_twins

Hardware, time, result: not run yet. solo-learn publishes 92.10 (online linear probe, one run).
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('barlow_twins')
    c.method.lambd = 0.0051
    c.method.scale = 0.1
    c.projector.widths = (2048, 2048, 2048)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
