"""Debiased contrastive learning with hard negatives (HCL) on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/debiased.py --workdir=runs/digits/debiased

Two CPU cores, about a minute. Result with ten labels per class: 96.5 %
(untrained encoder 87.6, shuffled pairs 86.3; seed 1).
"""

from common import digits


def get_config():
    c = digits('debiased')
    c.method.temperature = 0.5
    c.method.positive_prior = 0.1
    c.method.concentration = 1.0
    c.projector.widths = (256, 128)
    return c
