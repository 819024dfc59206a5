"""VIbCReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vibcreg.py --workdir=runs/digits/vibcreg

Two CPU cores, one to two minutes. Result with ten labels per class: 96.4 %
(untrained encoder 87.6, shuffled pairs 85.3; seed 1).
"""

from common import digits


def get_config():
    c = digits('vibcreg')
    c.projector.widths = (512, 512, 256)
    c.projector.last_norm = 'iterative'
    return c
