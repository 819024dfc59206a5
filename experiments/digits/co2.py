"""CO2 beside MoCo v2 on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/co2.py --workdir=runs/digits/co2

Two CPU cores, one to two minutes.
Result with ten labels per class: 92.1 ± 0.4 % (untrained encoder 86.3, shuffled pairs 86.0), mean and deviation of
seeds 1 and 2.
"""

from common import digits


def get_config():
    c = digits('co2')
    c.method.temperature = 0.2
    c.method.queue = 4096
    c.method.momentum = 0.99
    c.projector.widths = (256, 128)
    return c
