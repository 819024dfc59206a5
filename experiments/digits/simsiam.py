"""SimSiam on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/simsiam.py --workdir=runs/digits/simsiam

Two CPU cores, one to two minutes.
Result with ten labels per class: 93.7 ± 0.3 % (untrained encoder 86.1, shuffled pairs 85.5), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('simsiam')
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'plain'
    c.predictor.widths = (64, 128)
    c.optimizer.groups = {'predictor': {'schedule': 'constant'}}
    return c
