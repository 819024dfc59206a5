"""The progressive autoencoder of digits as vectors: 64, 128 and 256 atoms in one, with 2, 4 and 8 units on.

python -m selfsup.train --config=experiments/dictionaries/progressive.py --workdir=runs/dictionaries/progressive

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('progressive')
    c.method.active = 8
    c.method.dead_after = 5000
    return c
