"""Metrix, pairs with margins and their mixtures, which sees the training labels, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/metric.py --workdir=runs/digits/metric

One thread, a minute.
Result with ten labels per class: 96.7 % (untrained encoder 87.4, shuffled pairs 86.6), seed 1.
"""

from common import digits


def get_config():
    c = digits('metric')
    c.method.objective = 'metrix'
    c.projector.widths = (256, 128)
    return c
