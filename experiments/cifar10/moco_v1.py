"""MoCo v1 on CIFAR-10: the paper's method with the optimiser and views of solo-learn's MoCo v2+ recipe.

    python -m selfsup.train --config=experiments/cifar10/moco_v1.py --workdir=runs/cifar10/moco_v1

Hardware, time, result: not run yet. solo-learn has no MoCo v1; its v2+ recipe otherwise.
One direction, a linear head and shuffled batch-norm in 8 groups, as in the paper.
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('moco_v1')
    c.method.temperature = 0.07
    c.method.queue = 32768
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 8
    c.projector.widths = (128,)  # one linear layer
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
