"""MACL on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/macl.py --workdir=runs/digits/macl

Result with ten labels per class: 96.3 % (untrained encoder 87.4, shuffled pairs 86.6), seed 1.
"""

from common import digits


def get_config():
    c = digits('macl')
    c.method.temperature = 0.2
    c.projector.widths = (256, 128)
    return c
