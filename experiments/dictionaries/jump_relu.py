"""The JumpReLU autoencoder of digits as vectors: 256 atoms.

python -m selfsup.train --config=experiments/dictionaries/jump_relu.py --workdir=runs/dictionaries/jump_relu

Two CPU cores, about half a minute. The result, beside all others at about 8 units on, is in docs/dictionaries.md.
"""

from common import base


def get_config():
    c = base('jump_relu')
    c.method.target = 6.0
    c.method.weight = 100.0
    c.method.weight_warmup = 200
    c.method.threshold = 0.5
    c.method.bandwidth = 0.5
    c.method.dead_after = 5000
    return c
