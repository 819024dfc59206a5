"""MoCo v2+ on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/moco_v2.py --workdir=runs/cifar10/moco_v2

Hardware, time, result: not run yet. solo-learn publishes 92.94 (online linear probe, one run).
Two queues, a symmetric loss, and no shuffled batch-norm (groups = 1), as there.
"""

from common import as_moco_v2


def get_config():
    c = as_moco_v2('moco_v2')
    c.method.symmetric = True
    return c
