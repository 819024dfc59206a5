"""The ReLU-L1 autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/relu_l1.py --workdir=runs/dictionaries/relu_l1

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('relu_l1')
    c.method.weight = 6.0
    c.method.weight_warmup = 200
    c.method.dead_after = 5000
    c.method.resample = 64
    c.method.resample_epochs = 20
    return c
