"""FiLMR on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/filmr.py --workdir=runs/shapes/filmr

Hardware, time, result: two CPU cores, a minute or two; docs/equivariance.md.
"""

from common import two_views


def get_config():
    c = two_views('filmr')
    c.method.transformations = ('rotation', 'jitter')
    c.method.update(equivariance_weight=10.0, variance_weight=10.0, covariance_weight=1.0)
    return c
