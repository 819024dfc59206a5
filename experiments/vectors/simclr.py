"""SimCLR on vectors of features (SCARF, Bahri et al. 2022): scikit-learn's digits as tables of 64 numbers.

    python -m selfsup.train --config=experiments/vectors/simclr.py --workdir=runs/vectors/simclr

One view is the row itself; in the other a random 60 % of the features are drawn from their marginal distributions.

Two CPU cores, about a minute. Result: docs/vectors.md.
"""

from common import digits


def get_config():
    c = digits('simclr', 'scarf')
    c.method.temperature = 1.0
    c.projector.hidden_norm = False
    return c
