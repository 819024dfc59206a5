"""VICRegL on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vicregl.py --workdir=runs/digits/vicregl

Two CPU cores, one to two minutes.
Result with ten labels per class: 94.6 ± 0.5 % (untrained encoder 86.0, shuffled pairs 88.9), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('vicregl')
    c.method.local_widths = (128, 128, 128)
    c.method.matches = (4, 4)
    c.projector.widths = (512, 512, 256)
    c.augment.recipe = 'digits_crops'
    c.augment.size = 12  # the padded side
    return c
