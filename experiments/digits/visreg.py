"""VISReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/visreg.py --workdir=runs/digits/visreg

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.4 ± 0.3 % (untrained encoder 86.1, shuffled pairs 87.0), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('visreg')
    c.method.lambd = 0.6
    c.method.directions = 256
    c.projector.widths = (256, 64)
    return c
