"""All4One on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/all4one.py --workdir=runs/digits/all4one

One thread, some two minutes.
Result with ten labels per class: 95.9 % (untrained encoder 87.6, shuffled pairs 84.5), seed 1.
"""

from common import digits


def get_config():
    c = digits('all4one')
    c.method.queue = 1024
    c.method.momentum = 0.9
    c.method.momentum_final = 1.0
    c.method.depth = 1
    c.method.transformer_heads = 4
    c.projector.widths = (256, 64)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (256, 64)
    c.optimizer.groups.transformer = dict(scale=0.1)
    return c
