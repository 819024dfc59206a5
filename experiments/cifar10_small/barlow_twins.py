"""Barlow Twins on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/barlow_twins.py --workdir=runs/cifar10_small/barlow_twins

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('barlow_twins')
    c.method.lambd = 5e-3
    c.projector.widths = (512, 512, 512)
    return c
