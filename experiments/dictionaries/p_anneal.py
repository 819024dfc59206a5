"""The p-annealed autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/p_anneal.py --workdir=runs/dictionaries/p_anneal

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('p_anneal')
    c.method.weight = 3.0
    c.method.weight_warmup = 200
    c.method.anneal_start = 300
    c.method.anneal_steps = 500
    c.method.dead_after = 5000
    return c
