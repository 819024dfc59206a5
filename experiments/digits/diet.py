"""DIET on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/diet.py --workdir=runs/digits/diet

Two CPU cores, one to two minutes.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('diet')
    c.method.smoothing = 0.8
    return c
