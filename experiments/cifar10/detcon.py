"""DetCon-B on CIFAR-10, solo-learn's recipe of BYOL (its scripts/pretrain/cifar, 2026-04) with regions of 8x8 pixels.

    python -m selfsup.train --config=experiments/cifar10/detcon.py --workdir=runs/cifar10/detcon

Hardware, time, result: not run yet. No result is published for it.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('detcon')
    c.method.cell = 8.0  # a grid of 4x4
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (4096, 256)
    c.predictor.widths = (4096, 256)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=1.0, weight_decay=1e-5)  # x batch / 256
    return c
