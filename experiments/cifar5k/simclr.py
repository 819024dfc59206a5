"""SimCLR on 5,000 images of CIFAR-10 (500 per class) with a small network: pixels fail, nothing saturates.

    python -m selfsup.train --config=experiments/cifar5k/simclr.py --workdir=runs/cifar5k/simclr

Hardware, time, result: two CPU cores, minutes; docs/results.md.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simclr'
    c.method.temperature = 0.2
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128, 256)
    c.model.first_stride = 2
    c.projector.widths = (512, 128)

    c.data.source = 'tfds:cifar10'
    c.data.per_class = 500
    c.data.batch_size = 256

    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.learning_rate = 2e-3
    c.optimizer.warmup_epochs = 2.0
    c.train.epochs = 40
    return c
