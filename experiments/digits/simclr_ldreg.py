"""SimCLR with LDReg (Huang et al. 2024, https://arxiv.org/abs/2401.10474) on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/simclr_ldreg.py --workdir=runs/digits/simclr_ldreg

Two CPU cores, about a minute. docs/regularisers.md has local dimensions with and without it.
Result with ten labels per class: 95.8 % (untrained encoder 87.4, shuffled pairs 85.8), seed 1.
"""

from common import digits


def get_config():
    c = digits('simclr')  # as in simclr.py
    c.method.temperature = 0.5
    c.method.regularisers = {'ldreg': {'weight': 0.01, 'neighbours': 64}}
    c.projector.widths = (256, 128)
    return c
