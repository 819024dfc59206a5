"""LeJEPA on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/lejepa.py --workdir=runs/digits/lejepa

Two CPU cores, one to two minutes.
Result with ten labels per class: 94.1 ± 0.3 % (untrained encoder 86.1, shuffled pairs 86.7), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('lejepa')
    c.method.lambd = 0.05
    c.method.directions = 256
    c.projector.widths = (256, 64)
    return c
