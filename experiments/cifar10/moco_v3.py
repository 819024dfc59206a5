"""MoCo v3 on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/moco_v3.py --workdir=runs/cifar10/moco_v3

Hardware, time, result: not run yet. solo-learn publishes 93.10 (online linear probe, one run).
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('moco_v3')
    c.method.temperature = 0.2
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (4096, 256)
    c.projector.hidden_bias = False
    c.projector.last_bias = False
    c.projector.last_norm = 'plain'
    c.predictor.widths = (4096, 256)
    c.predictor.hidden_bias = False
    c.predictor.last_bias = False
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-6)  # x batch / 256
    return c
