"""Invariance Propagation on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/invprop.py --workdir=runs/digits/invprop

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.8 % (untrained encoder 87.6, shuffled pairs 86.0), seed 1.
"""

from common import digits


def get_config():
    c = digits('invprop')
    c.method.temperature = 0.1
    c.method.background = 512
    c.method.hardest = 20
    c.method.start_steps = 30 * 5  # the authors' 30 epochs
    c.projector.widths = (128,)
    return c
