"""NNCLR on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/nnclr.py --workdir=runs/cifar10/nnclr

Hardware, time, result: not run yet. solo-learn publishes 91.88 (online linear probe, one run).
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('nnclr')
    c.method.temperature = 0.2
    c.method.queue = 65536
    c.projector.widths = (2048, 2048, 256)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (4096, 256)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-5)  # x batch / 256
    return c
