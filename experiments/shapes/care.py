"""CARE on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/care.py --workdir=runs/shapes/care

Hardware, time, result: two CPU cores, a minute or two; docs/equivariance.md.
"""

from common import two_views, view


def get_config():
    c = two_views('care')
    c.method.temperature = 0.2
    c.augment.views.shared = view(shared=16)
    return c
