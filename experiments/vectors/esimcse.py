"""ESimCSE (Wu et al. 2022) on vectors: scikit-learn's digits as tables of 64 numbers, views without a half of them.

    python -m selfsup.train --config=experiments/vectors/esimcse.py --workdir=runs/vectors/esimcse

Two CPU cores, about a minute. Result: docs/vectors.md.
"""

from common import digits


def get_config():
    c = digits('esimcse', 'simcse')
    c.method.temperature = 0.2
    c.method.queue = 512
    c.method.momentum = 0.99
    c.projector.hidden_norm = False
    return c
