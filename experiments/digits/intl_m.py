"""INTL with an EMA target (intl_m) on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/intl_m.py --workdir=runs/digits/intl_m

Two CPU cores. Not run yet.
"""

from common import digits


def get_config():
    c = digits('intl_m')
    c.method.momentum = 0.95
    c.method.momentum_final = 1.0
    c.projector.widths = (256, 256, 256)
    return c
