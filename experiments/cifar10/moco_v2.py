"""MoCo v2+ on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/moco_v2.py --workdir=runs/cifar10/moco_v2

Hardware, time, result: not run yet. solo-learn publishes 92.94 (online linear probe, one run).
Two queues, a symmetric loss, and no shuffled batch-norm (groups = 1), as there.
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('moco_v2')
    c.method.temperature = 0.2
    c.method.queue = 32768
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 1
    c.method.symmetric = True
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
