"""MoCo in both directions against the hardest negatives, on CIFAR-10, with solo-learn's recipe of MoCo v2+.

    python -m selfsup.train --config=experiments/cifar10/moco_hard.py --workdir=runs/cifar10/moco_hard

Hardware, time, result: not run yet. Published elsewhere: not known to us with this recipe (moco_hard).
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('moco_hard')
    c.method.temperature = 0.2
    c.method.queue = 32768
    c.method.hardest = 1024
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 1
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
