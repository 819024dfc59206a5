"""MMCR on CIFAR-10, the paper's recipe for CIFAR-10 with a ResNet-18.

    python -m selfsup.train --config=experiments/cifar10/mmcr.py --workdir=runs/cifar10/mmcr

Hardware, time, result: not run yet. No result is known for this backbone.
Theirs is Adam with the decay in the gradient; at 1e-6 that makes no difference.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'mmcr'
    c.projector.widths = (512, 128)
    c.model.name = 'resnet18'
    c.model.stem = 'cifar'  # 3x3 and no max-pool

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 32
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = ''  # solo-learn's symmetric colours, 40 views
    c.augment.views.both = dict(
        size=32,
        count=40,
        crop=dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
        grey=0.2,
        blur=dict(p=0.5, sigma=(0.1, 2.0)),
    )
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 1e-6
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0

    c.train.epochs = 500
    c.train.precision = 'bfloat16'
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 200
    c.evaluate.temperature = 0.1
    return c
