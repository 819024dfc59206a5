"""Rotation (RotNet) on 5,000 images of CIFAR-10 (500 per class), every image in all four turns.

    python -m selfsup.train --config=experiments/cifar5k_pretext/rotation.py --workdir=runs/cifar5k_pretext/rotation

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('rotation')
    c.predictor.widths = (4,)
    return c
