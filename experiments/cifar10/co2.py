"""CO2 on CIFAR-10, on solo-learn's recipe of MoCo v2+ (its scripts/pretrain/cifar, 2026-04).

    python -m selfsup.train --config=experiments/cifar10/co2.py --workdir=runs/cifar10/co2

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import as_moco_v2


def get_config():
    return as_moco_v2('co2')
