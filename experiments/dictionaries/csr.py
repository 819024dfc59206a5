"""Contrastive sparse representation of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/csr.py --workdir=runs/dictionaries/csr

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('csr')
    c.method.active = 8
    c.method.contrast_weight = 6.4  # the authors' 0.1 of a squared error averaged over the 64 dims
    c.method.dead_after = 5000
    return c
