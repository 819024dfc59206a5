"""NNBYOL on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/nnbyol.py --workdir=runs/cifar10/nnbyol

Hardware, time, result: not run yet. solo-learn publishes no result for it in its table.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('nnbyol')
    c.method.queue = 65536
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (4096, 256)
    c.predictor.widths = (4096, 256)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=1.0, weight_decay=1e-5)  # x batch / 256
    return c
