"""What the configs of this folder share: all of CIFAR-10 and a network that two CPU cores can train in an hour."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def small(method: str) -> ConfigDict:
    """Three 3x3 convolutions of 93,472 parameters and 2.6 million products an image; 60 epochs of 191 batches of 256.

    Views are solo-learn's weak symmetric ones for CIFAR-10. No value was searched for.
    """
    c = defaults()
    c.method.name = method
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128)
    c.model.first_stride = 2
    c.projector.widths = (512, 128)

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.learning_rate = 2e-3
    c.optimizer.warmup_epochs = 1.0
    c.train.epochs = 60
    c.train.log_every = 50
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 5
    c.evaluate.neighbours = 20
    c.evaluate.temperature = 0.07
    return c
