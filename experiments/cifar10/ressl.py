"""ReSSL on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/ressl.py --workdir=runs/cifar10/ressl

Hardware, time, result: not run yet. solo-learn publishes 90.63 (online linear probe, one run).
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('ressl')
    c.method.temperature = 0.1
    c.method.teacher_temperature = 0.04
    c.method.queue = 65536
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (4096, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_ressl'
    c.optimizer.update(SGD, learning_rate=0.05, weight_decay=1e-4)  # x batch / 256
    return c
