"""The matching-pursuit autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/matching_pursuit.py --workdir=runs/dictionaries/mp

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('matching_pursuit')
    c.method.active = 8
    c.method.units = 256
    return c
