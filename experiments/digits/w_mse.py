"""W-MSE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/w_mse.py --workdir=runs/digits/w_mse

Two CPU cores, one to two minutes.
Result with ten labels per class: 93.7 ± 0.3 % (untrained encoder 86.1, shuffled pairs 86.2), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('w_mse')
    c.method.block = 128
    c.projector.widths = (256, 64)
    return c
