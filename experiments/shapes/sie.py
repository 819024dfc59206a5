"""SIE on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/sie.py --workdir=runs/shapes/sie

Hardware, time, result: two CPU cores, a minute or two; docs/equivariance.md.
"""

from common import two_views


def get_config():
    c = two_views('sie')
    c.method.transformations = ('rotation', 'jitter')
    c.projector.widths = (256, 64)
    return c
