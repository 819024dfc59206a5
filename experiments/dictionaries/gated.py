"""The gated autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/gated.py --workdir=runs/dictionaries/gated

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('gated')
    c.model.last_bias = False
    c.method.weight = 4.2
    c.method.weight_warmup = 200
    c.method.dead_after = 5000
    return c
