"""Jigsaw on 5,000 images of CIFAR-10 (500 per class): nine tiles of 9 of 11 pixels in one of 24 orders.

    python -m selfsup.train --config=experiments/cifar5k_pretext/jigsaw.py --workdir=runs/cifar5k_pretext/jigsaw

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('jigsaw')
    c.augment.recipe = ''
    crop = dict(scale=(0.6, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    task = dict(grid=3, tile=9, permutations=24)
    c.augment.views.only = dict(size=33, count=1, crop=crop, flip=0.5, grey=0.66, jigsaw=task)
    c.method.grid = 3
    c.method.evaluation_grid = 3
    c.predictor.widths = (512, 24)
    return c
