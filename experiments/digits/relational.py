"""Relational reasoning on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/relational.py --workdir=runs/digits/relational

Two CPU cores, one to two minutes.
"""

from common import digits


def get_config():
    c = digits('relational')
    c.method.gamma = 2.0
    c.predictor.widths = (256, 1)
    c.predictor.activation = 'leaky_relu'
    return c
