"""SIE on scikit-learn's 8x8 digits: the equivariant half is moved by the angle between two views.

    python -m selfsup.train --config=experiments/digits/sie.py --workdir=runs/digits/sie

Two CPU cores, one to two minutes.
Result with ten labels per class: 93.4 ± 0.8 % (untrained encoder 86.1, shuffled pairs 86.0), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('sie')
    c.projector.widths = (256, 64)
    c.augment.recipe = 'digits_turned'
    return c
