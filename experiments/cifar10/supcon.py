"""SupCon on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/supcon.py --workdir=runs/cifar10/supcon

Hardware, time, result: not run yet. solo-learn publishes 93.82 (online linear probe, one run).
It sees the training labels.
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('supcon')
    c.method.temperature = 0.2
    c.method.sum_inside = True  # its sum over positives is inside the logarithm
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(SGD, learning_rate=0.4, weight_decay=1e-5)  # x batch / 256
    return c
