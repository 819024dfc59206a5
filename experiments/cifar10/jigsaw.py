"""Jigsaw on CIFAR-10 with a ResNet-18: 100 orders of nine tiles of 9 of 11 pixels.

    python -m selfsup.train --config=experiments/cifar10/jigsaw.py --workdir=runs/cifar10/jigsaw

Hardware, time, result: not run yet. Published elsewhere: none of this size; the authors train on ImageNet.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('jigsaw')
    c.method.evaluation_grid = 3
    c.predictor.widths = (1024, 100)
    c.augment.recipe = 'jigsaw'
    c.optimizer.update(SGD, learning_rate=0.1, weight_decay=1e-4)  # x batch / 256
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
