"""PIRL with jigsaws on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/pirl.py --workdir=runs/digits/pirl
"""

from common import digits


def get_config():
    c = digits('pirl')
    c.method.grid = 3
    c.method.negatives = 512
    c.projector.widths = (128,)
    return c
