"""Invariance Propagation on CIFAR-10, the authors' recipe.

    python -m selfsup.train --config=experiments/cifar10/invprop.py --workdir=runs/cifar10/invprop

Hardware, time, result: not run yet.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('invprop')
    c.method.temperature = 0.2
    c.method.background = 4096
    c.method.hardest = 20
    c.method.start_steps = 30 * 382  # 30 epochs of 49,000 // 128 steps
    c.projector.widths = (512, 128)
    c.projector.hidden_norm = False
    c.data.batch_size = 128
    c.augment.views.only = dict(
        size=32,
        count=1,
        crop=dict(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear'),
        flip=0.5,
        jitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4, p=1.0),
        grey=0.2,
        blur=dict(p=0.5, sigma=(0.1, 2.0)),
    )
    c.optimizer.update(SGD, learning_rate=0.03, weight_decay=5e-4)
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 800
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
