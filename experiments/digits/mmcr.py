"""MMCR on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/mmcr.py --workdir=runs/digits/mmcr

Two CPU cores, one to two minutes. Result with ten labels per class: 95.8 %
(untrained encoder 87.4, shuffled pairs 87.8; seed 1).
"""

from common import digits


def get_config():
    c = digits('mmcr')
    c.projector.widths = (256, 64)
    return c
