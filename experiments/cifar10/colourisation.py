"""Colourisation on CIFAR-10 with a ResNet-18: 260 colours of the 4x4 cells of its map.

    python -m selfsup.train --config=experiments/cifar10/colourisation.py --workdir=runs/cifar10/colourisation

Hardware, time, result: not run yet. Published elsewhere: none of this size; the authors train on ImageNet.
"""

from common import cifar10, crop_and_flip


def get_config():
    c = cifar10('colourisation')
    c.method.step = 10
    c.predictor.widths = (260,)
    c.augment.recipe = ''
    c.augment.views.only = {**crop_and_flip(0.5), 'colours': dict(cells=4, step=10)}
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 1e-3
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
