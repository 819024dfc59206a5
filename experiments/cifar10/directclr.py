"""DirectCLR on CIFAR-10, on solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04).

    python -m selfsup.train --config=experiments/cifar10/directclr.py --workdir=runs/cifar10/directclr

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('directclr')
    c.method.dims = 90  # of 512 features, the authors' share
    c.method.temperature = 0.2
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-4)  # x batch / 256
    return c
