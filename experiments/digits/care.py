"""CARE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/care.py --workdir=runs/digits/care

Two CPU cores, about two minutes.
Result with ten labels per class: 96.2 ± 0.1 % (untrained encoder 86.2, shuffled pairs 86.2), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('care')
    c.method.temperature = 0.5
    c.projector.widths = (256, 128)
    c.augment.recipe = 'digits_shared'
    return c
