"""SwAV on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/swav.py --workdir=runs/digits/swav

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.6 ± 0.2 % (untrained encoder 86.1, shuffled pairs 84.0), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('swav')
    c.method.prototypes = 128
    c.method.temperature = 0.1
    c.method.epsilon = 0.03
    c.projector.widths = (256, 128)
    c.optimizer.groups.prototypes = dict(scale=0.1, freeze_steps=100)
    return c
