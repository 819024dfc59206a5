"""SwAV on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/swav.py --workdir=runs/cifar10/swav

Hardware, time, result: not run yet. solo-learn publishes 89.17 (online linear probe, one run).
Two views without multi-crop, as there. An epoch is 49,000 // 256 = 191 steps.
"""

from common import LARS, STEPS, solo_learn


def get_config():
    c = solo_learn('swav')
    c.method.prototypes = 3000
    c.method.temperature = 0.1
    c.method.epsilon = 0.05
    c.method.queue = 3840
    c.method.queue_start = 50 * STEPS  # steps
    c.projector.widths = (2048, 128)
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.6, weight_decay=1e-6)  # x batch / 256
    c.optimizer.groups.prototypes = dict(freeze_steps=2 * STEPS)
    return c
