"""UNSEE (Çağatan 2024) on vectors: scikit-learn's digits as tables of 64 numbers, views without a half of them.

    python -m selfsup.train --config=experiments/vectors/unsee.py --workdir=runs/vectors/unsee

Two CPU cores, about a minute. Result: docs/vectors.md.
"""

from common import digits


def get_config():
    c = digits('unsee', 'simcse')
    c.method.momentum = 0.99
    return c
