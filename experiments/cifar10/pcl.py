"""PCL on CIFAR-10: clusterings of 250, 500 and 1,000 on this folder's recipe of MoCo v2.

    python -m selfsup.train --config=experiments/cifar10/pcl.py --workdir=runs/cifar10/pcl

Hardware, time, result: not run yet. The authors publish none on CIFAR-10.
"""

from common import STEPS, as_moco_v2


def get_config():
    c = as_moco_v2('pcl')
    c.method.prototypes = (250, 500, 1000)
    c.method.prototype_start = 20 * STEPS
    return c
