"""Relative patch on CIFAR-10 with a ResNet-18: patches of 8 pixels, 2 pixels between them.

    python -m selfsup.train --config=experiments/cifar10/relative_patch.py --workdir=runs/cifar10/relative_patch

Hardware, time, result: not run yet. Published elsewhere: none of this size; the authors train on ImageNet.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('relative_patch')
    c.method.evaluation_grid = 3
    c.predictor.widths = (1024, 8)
    c.augment.recipe = 'relative_patch'
    c.optimizer.update(SGD, learning_rate=0.1, weight_decay=1e-4)  # x batch / 256
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
