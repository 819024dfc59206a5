"""EMP-SSL, with two views, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/emp_ssl.py --workdir=runs/digits/emp_ssl

Two CPU cores, one to two minutes.
Result with ten labels per class: 96.5 % (untrained encoder 87.4, shuffled pairs 83.8), seed 1.
"""

from common import digits


def get_config():
    c = digits('emp_ssl')
    c.projector.widths = (256, 128)
    return c
