"""The relaxed archetypal autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/archetypal.py --workdir=runs/dictionaries/archetypal

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('archetypal')
    c.method.active = 8
    c.method.points = 1000
    return c
