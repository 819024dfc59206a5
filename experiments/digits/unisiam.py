"""UniSiam on scikit-learn's 8x8 digits.

python -m selfsup.train --config=experiments/digits/unisiam.py --workdir=runs/digits/unisiam
"""

from common import digits


def get_config():
    c = digits('unisiam')
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (64, 128)
    return c
