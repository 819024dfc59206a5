"""VIbCReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vibcreg.py --workdir=runs/digits/vibcreg

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.4 ± 0.8 % (untrained encoder 86.1, shuffled pairs 85.2), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('vibcreg')
    c.projector.widths = (512, 512, 256)
    c.projector.last_norm = 'iterative'
    return c
