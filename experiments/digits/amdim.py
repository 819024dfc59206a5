"""AMDIM on scikit-learn's 8x8 digits: places of 3x3 maps and of their 2x2 windows.

    python -m selfsup.train --config=experiments/digits/amdim.py --workdir=runs/digits/amdim

Two CPU cores, one to two minutes.
"""

from common import digits


def get_config():
    c = digits('amdim')
    c.method.windows = (1, 2)
    c.method.local_widths = (256, 128)
    c.projector.widths = (256, 128)
    return c
