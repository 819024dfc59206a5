"""ReSSL on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/ressl.py --workdir=runs/digits/ressl

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.5 ± 0.6 % (untrained encoder 86.1, shuffled pairs 87.1), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('ressl')
    c.method.temperature = 0.1
    c.method.teacher_temperature = 0.04
    c.method.queue = 1024
    c.method.momentum = 0.95
    c.projector.widths = (256, 128)
    c.augment.recipe = 'digits_weak'
    return c
