"""MoCo v2 on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/moco_v2.py --workdir=runs/cifar10_small/moco_v2

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('moco_v2')
    c.method.temperature = 0.2
    c.method.queue = 4096
    c.method.momentum = 0.99
    c.method.groups = 8
    return c
