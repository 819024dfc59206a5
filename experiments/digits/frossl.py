"""FroSSL on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/frossl.py --workdir=runs/digits/frossl
"""

from common import digits


def get_config():
    c = digits('frossl')
    c.projector.widths = (256, 128)
    return c
