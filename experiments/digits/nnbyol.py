"""NNBYOL on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/nnbyol.py --workdir=runs/digits/nnbyol

Two CPU cores, one to two minutes.
Result with ten labels per class: 93.1 % (untrained encoder 87.6, shuffled pairs 87.9), seed 1.
"""

from common import digits


def get_config():
    c = digits('nnbyol')
    c.method.queue = 1024
    c.method.momentum = 0.9
    c.method.momentum_final = 1.0
    c.projector.widths = (256, 128)
    c.predictor.widths = (256, 128)
    c.optimizer.learning_rate = 5e-3
    return c
