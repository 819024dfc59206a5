"""DINO on all of CIFAR-10 with a network of 93,472 parameters.

    python -m selfsup.train --config=experiments/cifar10_small/dino.py --workdir=runs/cifar10_small/dino

Hardware, time, result: two CPU cores; docs/cifar10.md.
"""

from common import small


def get_config():
    c = small('dino')
    c.method.prototypes = 1024
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.04
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (512, 512, 128)
    c.projector.activation = 'gelu'
    c.projector.last_norm = 'plain'
    c.optimizer.groups.prototypes = dict(scale=0.1, freeze_steps=191)
    return c
