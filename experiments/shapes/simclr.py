"""SimCLR on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/simclr.py --workdir=runs/shapes/simclr

Hardware, time, result: two CPU cores, a minute or two; docs/equivariance.md.
"""

from common import two_views


def get_config():
    c = two_views('simclr')
    c.method.temperature = 0.2
    return c
