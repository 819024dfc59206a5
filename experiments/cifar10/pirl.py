"""PIRL with jigsaws on CIFAR-10: VISSL's ImageNet recipe with tiles of 10 out of 12 pixels.

    python -m selfsup.train --config=experiments/cifar10/pirl.py --workdir=runs/cifar10/pirl

Hardware, time, result: not run yet. Published elsewhere: none with this recipe; the authors train on ImageNet.
"""

from common import SGD, cifar10

COLOURS = dict(jitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, p=1.0), grey=0.2, flip=0.5)


def get_config():
    c = cifar10('pirl')
    c.method.grid = 3
    c.method.tile = 10
    c.method.negatives = 8192
    c.projector.widths = (128,)
    ratio = dict(ratio=(3 / 4, 4 / 3), method='bilinear')
    c.augment.views.image = dict(size=32, count=1, crop=dict(scale=(0.08, 1.0), **ratio), **COLOURS)
    c.augment.views.tiles = dict(order=1, size=36, count=1, crop=dict(scale=(0.6, 1.0), **ratio), **COLOURS)
    c.optimizer.update(SGD, learning_rate=0.03, weight_decay=1e-4)  # x batch / 256
    c.optimizer.decay_vectors = False
    c.optimizer.final_share = 1e-3  # the paper's 0.00012 of 0.12
    c.train.epochs = 800
    return c
