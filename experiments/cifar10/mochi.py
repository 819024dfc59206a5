"""MoCHi on CIFAR-10, on solo-learn's recipe of MoCo v2+ (its scripts/pretrain/cifar, 2026-04).

    python -m selfsup.train --config=experiments/cifar10/mochi.py --workdir=runs/cifar10/mochi

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import SGD, STEPS, solo_learn


def get_config():
    c = solo_learn('mochi')
    c.method.temperature = 0.2
    c.method.queue = 32768
    c.method.start_steps = 10 * STEPS
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 1
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
