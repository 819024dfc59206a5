"""iBOT on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/ibot.py --workdir=runs/digits/ibot
"""

from common import small_tokens


def get_config():
    c = small_tokens('ibot')
    c.method.prototypes = 64
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.method.teacher_temperature = 0.04
    c.method.patch_temperature = 0.04
    return c
