"""The BatchTopK autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/batch_topk.py --workdir=runs/dictionaries/batch_topk

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('batch_topk')
    c.method.active = 5
    c.method.dead_after = 5000
    return c
