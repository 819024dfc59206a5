"""Relational reasoning on CIFAR-10: the authors' 32 views of batches of 64, Adam, 200 epochs, with a ResNet-18.

    python -m selfsup.train --config=experiments/cifar10/relational.py --workdir=runs/cifar10/relational

Hardware, time, result: not run yet. The authors report networks of four layers and small ResNets, which are not here.
"""

from common import cifar10, symmetric_views


def get_config():
    c = cifar10('relational')
    c.method.gamma = 2.0
    c.method.alpha = 0.5
    c.predictor.widths = (256, 1)
    c.predictor.activation = 'leaky_relu'
    c.data.batch_size = 64  # 2,048 views, 992 pairs of each image
    c.augment.recipe = ''
    c.augment.views.all = symmetric_views(32)
    del c.augment.views.all.blur
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.0
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 200
    return c
