"""AMDIM on CIFAR-10 with a ResNet-18: places of its last map of 4x4 and of 2x2 windows of it.

    python -m selfsup.train --config=experiments/cifar10/amdim.py --workdir=runs/cifar10/amdim

Hardware, time, result: not run yet. The authors train networks of their own and divide the rate by five at epochs
250 and 280 of 300.
"""

from common import cifar10


def get_config():
    c = cifar10('amdim')
    c.method.windows = (1, 2)
    c.method.local_widths = (2048, 256)
    c.projector.widths = (2048, 256)
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 2e-4
    c.optimizer.momentum = 0.8
    c.optimizer.weight_decay = 1e-5
    c.optimizer.warmup_epochs = 3.0
    c.train.epochs = 300
    return c
