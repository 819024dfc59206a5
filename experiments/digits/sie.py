"""SIE on scikit-learn's 8x8 digits: the equivariant half is moved by the angle between two views.

    python -m selfsup.train --config=experiments/digits/sie.py --workdir=runs/digits/sie

Two CPU cores, one to two minutes.
Result with ten labels per class: 93.3 % (untrained encoder 87.6, shuffled pairs 85.6), seed 1.
"""

from common import digits


def get_config():
    c = digits('sie')
    c.projector.widths = (256, 64)
    c.augment.recipe = 'digits_turned'
    return c
