"""VICReg on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/vicreg.py --workdir=runs/shapes/vicreg

Hardware, time, result: two CPU cores, a minute or two; docs/equivariance.md.
"""

from common import two_views


def get_config():
    c = two_views('vicreg')
    c.projector.widths = (256, 256)
    return c
