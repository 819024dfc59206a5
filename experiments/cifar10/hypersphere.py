"""Alignment and uniformity (hypersphere) on CIFAR-10, on solo-learn's SimCLR recipe.

    python -m selfsup.train --config=experiments/cifar10/hypersphere.py --workdir=runs/cifar10/hypersphere

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('hypersphere')
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-4)  # x batch / 256
    return c
