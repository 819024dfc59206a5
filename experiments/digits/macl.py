"""MACL on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/macl.py --workdir=runs/digits/macl
"""

from common import digits


def get_config():
    c = digits('macl')
    c.method.temperature = 0.2
    c.projector.widths = (256, 128)
    return c
