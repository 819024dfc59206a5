"""BYOL on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/byol.py --workdir=runs/cifar10_small/byol

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('byol')
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.predictor.widths = (512, 128)
    return c
