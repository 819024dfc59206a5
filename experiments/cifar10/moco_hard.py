"""MoCo in both directions against the hardest negatives, on CIFAR-10, with solo-learn's recipe of MoCo v2+.

    python -m selfsup.train --config=experiments/cifar10/moco_hard.py --workdir=runs/cifar10/moco_hard

Hardware, time, result: not run yet. Published elsewhere: not known to us with this recipe (moco_hard).
"""

from common import as_moco_v2


def get_config():
    c = as_moco_v2('moco_hard')
    c.method.hardest = 1024
    return c
