"""NNCLR on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/nnclr.py --workdir=runs/digits/nnclr

Two CPU cores, one to two minutes.
Result with ten labels per class: 95.0 ± 0.1 % (untrained encoder 86.1, shuffled pairs 86.0), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('nnclr')
    c.method.temperature = 0.2
    c.method.queue = 1024
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (256, 128)
    return c
