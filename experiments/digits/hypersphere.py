"""Alignment and uniformity as a loss, the method hypersphere, on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/hypersphere.py --workdir=runs/digits/hypersphere
"""

from common import digits


def get_config():
    c = digits('hypersphere')
    c.projector.widths = (256, 128)
    return c
