"""DIET on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/diet.py --workdir=runs/cifar10/diet

Hardware, time, result: not run yet. The authors train on CIFAR-100 (ResNet-101, 71.4) with this optimiser and batch,
for thousands of epochs. The head of 49,000 classes has 25 million weights, and AdamW twice as many moments: 0.3 GB,
over all devices together.
"""

from common import cifar10, symmetric_views


def get_config():
    c = cifar10('diet')
    c.model.stem = 'cifar_pad2'
    c.method.smoothing = 0.8
    c.augment.views.only = symmetric_views(1)
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 10.0
    c.train.epochs = 4000
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
