"""MoCo v1 on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/moco_v1.py --workdir=runs/digits/moco_v1

Two CPU cores, one to two minutes.
Result with ten labels per class: 95.5 ± 0.6 % (untrained encoder 86.1, shuffled pairs 85.8), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('moco_v1')
    c.method.temperature = 0.07
    c.method.queue = 4096
    c.method.momentum = 0.99
    c.method.groups = 8
    c.projector.widths = (128,)
    return c
