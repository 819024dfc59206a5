"""SimCLR on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/simclr.py --workdir=runs/cifar10_small/simclr

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('simclr')
    c.method.temperature = 0.2
    return c
