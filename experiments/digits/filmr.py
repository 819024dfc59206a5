"""FiLMR on scikit-learn's 8x8 digits: pairs of dimensions are turned by the angle between two views.

    python -m selfsup.train --config=experiments/digits/filmr.py --workdir=runs/digits/filmr

Two CPU cores, one to two minutes.
"""

from common import digits


def get_config():
    c = digits('filmr')
    c.projector.widths = (256, 128)
    c.augment.recipe = 'digits_turned'
    return c
