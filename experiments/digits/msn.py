"""MSN on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/msn.py --workdir=runs/digits/msn
"""

from common import small_tokens


def get_config():
    c = small_tokens('msn')
    c.method.prototypes = 64
    c.method.ratio = 0.3
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.last_norm = 'none'
    return c
