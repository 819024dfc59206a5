"""DINOv2's recipe on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/dinov2.py --workdir=runs/digits/dinov2
"""

from common import small_tokens


def get_config():
    c = small_tokens('dinov2')
    c.method.prototypes = 64
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.registers = 2
    return c
