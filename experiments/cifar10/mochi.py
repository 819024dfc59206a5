"""MoCHi on CIFAR-10, on solo-learn's recipe of MoCo v2+ (its scripts/pretrain/cifar, 2026-04).

    python -m selfsup.train --config=experiments/cifar10/mochi.py --workdir=runs/cifar10/mochi

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import STEPS, as_moco_v2


def get_config():
    c = as_moco_v2('mochi')
    c.method.start_steps = 10 * STEPS
    return c
