"""Exemplar with the triplet loss on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/exemplar.py --workdir=runs/digits/exemplar

Two CPU cores, one to two minutes.
"""

from common import digits


def get_config():
    c = digits('exemplar')
    c.method.margin = 0.5
    c.projector.widths = (256, 128)
    c.data.batch_size = 128
    return c
