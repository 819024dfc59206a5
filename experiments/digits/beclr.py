"""BECLR on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/beclr.py --workdir=runs/digits/beclr
    python -m selfsup.evaluate --workdir=runs/digits/beclr --only=few_shot

Result with ten labels per class: 90.6 ± 1.0 % (untrained encoder 86.1, shuffled pairs 87.1), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('beclr')
    c.method.queue = 2048
    c.method.clusters = 50  # forty entries each, as the authors
    c.method.neighbours = 3
    c.method.every_epochs = 8  # the share of the run that the authors' 60 epochs of 400 are
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (64, 128)
    c.train.epochs = 50
    return c
