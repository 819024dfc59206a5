"""VICReg on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/vicreg.py --workdir=runs/cifar10_small/vicreg

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('vicreg')
    c.projector.widths = (512, 512, 512)
    return c
