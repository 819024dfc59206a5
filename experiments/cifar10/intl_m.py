"""INTL with an EMA target (intl_m) on CIFAR-10, with the other settings of the authors' recipe; see intl.py.

    python -m selfsup.train --config=experiments/cifar10/intl_m.py --workdir=runs/cifar10/intl_m

Hardware, time, result: not run yet, and the authors publish none for CIFAR-10.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('intl_m')
    c.method.momentum = 0.999
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 2048)
    c.projector.hidden_bias = False
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    c.optimizer.warmup_epochs = 2.0
    c.optimizer.warmup_inclusive = True
    c.optimizer.final_share = 0.001
    c.train.epochs = 1000
    return c
