"""ESimCSE, in-batch contrast with a momentum queue, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/esimcse.py --workdir=runs/digits/esimcse

Two CPU cores, about a minute.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('esimcse')
    c.method.temperature = 0.2
    c.method.queue = 1024
    c.method.momentum = 0.99
    c.projector.widths = (256, 128)
    return c
