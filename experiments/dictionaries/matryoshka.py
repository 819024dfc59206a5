"""The Matryoshka autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/matryoshka.py --workdir=runs/dictionaries/matryoshka

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('matryoshka')
    c.method.active = 6
    c.method.dead_after = 5000
    return c
