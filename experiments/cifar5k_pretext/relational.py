"""Relational reasoning on 5,000 images of CIFAR-10 (500 per class), four views of each: 6 pairs of views.

    python -m selfsup.train --config=experiments/cifar5k_pretext/relational.py --workdir=runs/cifar5k_pretext/relational

Hardware, time, result: not run yet.
"""

from common import pretext


def get_config():
    c = pretext('relational')
    c.method.gamma = 2.0
    c.method.alpha = 0.5
    c.predictor.widths = (256, 1)
    c.predictor.activation = 'leaky_relu'
    c.data.batch_size = 128
    c.augment.recipe = ''
    c.augment.views.all = dict(
        size=32,
        count=4,
        crop=dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
        grey=0.2,
    )
    c.checkpoint.best = 'alignment'
    return c
