"""Decoupled contrastive learning (DCL) on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/decoupled.py --workdir=runs/cifar10/decoupled

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: 85.4 linear after 200 epochs at batch 256.
DCLW: --config.method.sigma=0.5.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('decoupled')
    c.method.temperature = 0.1  # lower than SimCLR's 0.2 there: the ports' default
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-4)  # x batch / 256
    return c
