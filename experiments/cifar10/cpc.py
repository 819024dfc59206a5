"""CPC on CIFAR-10 with a ResNet-18 on 7x7 patches of 8 pixels, the reading of CPC v2's pseudo-code.

    python -m selfsup.train --config=experiments/cifar10/cpc.py --workdir=runs/cifar10/cpc

Hardware, time, result: not run yet. Published elsewhere: none of this size; the authors train on ImageNet, without
batch-norm.
"""

from common import cifar10


def get_config():
    c = cifar10('cpc')
    c.method.patch = 8
    c.method.stride = 4
    c.data.batch_size = 64  # 3,136 patches, each against all others
    c.augment.recipe = 'mae'
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 4e-4
    c.optimizer.weight_decay = 1e-5
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
