"""INTL on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/intl.py --workdir=runs/digits/intl

Two CPU cores, one to two minutes.
"""

from common import digits


def get_config():
    c = digits('intl')
    c.projector.widths = (256, 256, 256)
    return c
