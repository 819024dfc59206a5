"""CO2 beside MoCo v2 on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/co2.py --workdir=runs/digits/co2

Two CPU cores, one to two minutes.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('co2')
    c.method.temperature = 0.2
    c.method.queue = 4096
    c.method.momentum = 0.99
    c.projector.widths = (256, 128)
    return c
