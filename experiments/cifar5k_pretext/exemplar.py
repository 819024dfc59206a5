"""Exemplar with the triplet loss on 5,000 images of CIFAR-10 (500 per class), four views of each.

    python -m selfsup.train --config=experiments/cifar5k_pretext/exemplar.py --workdir=runs/cifar5k_pretext/exemplar

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('exemplar')
    c.method.margin = 0.5
    c.projector.widths = (512, 128)
    c.data.batch_size = 128
    c.augment.recipe = ''
    c.augment.views.all = dict(
        size=32,
        count=4,
        crop=dict(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        grey=0.2,
    )
    c.checkpoint.best = 'alignment'
    return c
