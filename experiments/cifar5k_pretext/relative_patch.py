"""Relative patch on 5,000 images of CIFAR-10 (500 per class): patches of 8 pixels, 2 pixels between them.

    python -m selfsup.train --config=experiments/cifar5k_pretext/relative_patch.py --workdir=runs/cifar5k_pretext/patch

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('relative_patch')
    c.method.evaluation_grid = 3
    c.predictor.widths = (512, 8)
    return c
