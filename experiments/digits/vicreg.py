"""VICReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vicreg.py --workdir=runs/digits/vicreg

Two CPU cores, about a minute.
Result with ten labels per class: 96.4 ± 0.5 % (untrained encoder 86.1, shuffled pairs 86.6), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('vicreg')
    c.projector.widths = (512, 512, 256)
    return c
