"""SimCLR on vectors of features (SCARF, Bahri et al. 2022): scikit-learn's digits as tables of 64 numbers.

    python -m selfsup.train --config=experiments/vectors/simclr.py --workdir=runs/vectors/simclr

One view is the row itself; in the other a random 60 % of the features are drawn from their marginal distributions.

Two CPU cores, about a minute. Result with ten labels per class after 30 epochs: 86.1 % (untrained encoder 78.3, the
rows themselves 89.5), with one label 62.1 % (46.9, 55.0); seed 0.
"""

from common import digits


def get_config():
    c = digits('simclr', 'scarf')
    c.method.temperature = 1.0
    c.projector.hidden_norm = False
    return c
