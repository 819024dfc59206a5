"""MMCR on CIFAR-10, the paper's recipe for CIFAR-10 with a ResNet-18.

    python -m selfsup.train --config=experiments/cifar10/mmcr.py --workdir=runs/cifar10/mmcr

Hardware, time, result: not run yet. No result is known for this backbone.
Theirs is Adam with the decay in the gradient; at 1e-6 that makes no difference.
"""

from common import cifar10, symmetric_views


def get_config():
    c = cifar10('mmcr')
    c.projector.widths = (512, 128)
    c.data.batch_size = 32
    c.augment.recipe = ''  # solo-learn's symmetric colours, 40 views
    c.augment.views.both = symmetric_views(40)
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 1e-6
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 500
    return c
