"""INTL on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/intl.py --workdir=runs/digits/intl

Two CPU cores, three minutes. Seed 0: 95.9 % with ten labels per class (untrained encoder 87.5), 99.2 % by k-NN (95.5);
its control was not run.
"""

from common import digits


def get_config():
    c = digits('intl')
    c.projector.widths = (256, 256, 256)
    return c
