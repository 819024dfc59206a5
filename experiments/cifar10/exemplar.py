"""Exemplar on CIFAR-10 with a ResNet-18: eight views, a triplet loss of margin 0.5, SGD.

    python -m selfsup.train --config=experiments/cifar10/exemplar.py --workdir=runs/cifar10/exemplar

Hardware, time, result: not run yet. Published elsewhere: none of this size; the authors train on ImageNet.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('exemplar')
    c.method.margin = 0.5
    c.projector.widths = (1000,)
    c.data.batch_size = 64  # 512 views
    c.augment.recipe = 'exemplar'
    c.optimizer.update(SGD, learning_rate=0.025, weight_decay=1e-4)  # 0.1 x batch / 256
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 200
    return c
