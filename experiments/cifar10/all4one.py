"""All4One on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/all4one.py --workdir=runs/cifar10/all4one

Hardware, time, result: not run yet. solo-learn publishes 93.24 (online linear probe, one run).
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('all4one')
    c.method.queue = 98304
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 256)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (4096, 256)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=1.0, weight_decay=1e-5)  # x batch / 256
    c.optimizer.groups.transformer = dict(scale=0.1)
    return c
