"""UNSEE, VICReg against the features of a moving average, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/unsee.py --workdir=runs/digits/unsee

Two CPU cores, about a minute.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('unsee')
    c.method.momentum = 0.99
    c.projector.widths = (256, 128)
    return c
