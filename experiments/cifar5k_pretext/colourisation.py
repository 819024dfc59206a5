"""Colourisation on 5,000 images of CIFAR-10 (500 per class): 260 colours of 8x8 cells.

    python -m selfsup.train --config=experiments/cifar5k_pretext/colourisation.py --workdir=runs/cifar5k_pretext/colour

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('colourisation')
    c.model.widths = (64, 128)  # 16 pixels, 8: a place for every cell
    c.method.step = 10
    c.predictor.widths = (260,)
    return c
