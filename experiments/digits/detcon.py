"""DetCon-B on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/detcon.py --workdir=runs/digits/detcon

One thread, some two minutes.
Result with ten labels per class: 93.8 % (untrained encoder 87.4, shuffled pairs 87.1), seed 1.
"""

from common import digits


def get_config():
    c = digits('detcon')
    c.method.cell = 6.0  # four squares of the padded digits
    c.method.regions = 4
    c.method.momentum = 0.9
    c.method.momentum_final = 1.0
    c.projector.widths = (256, 128)
    c.predictor.widths = (256, 128)
    c.augment.recipe = 'digits_crops'
    c.augment.size = 12  # the padded side
    return c
