"""What the configs of this folder share: 5,000 images of CIFAR-10 (500 per class) and the network of cifar5k.

Not digits: turned, a 6 is a 9, and tiles of an 8x8 image show nothing.
"""

from ml_collections import ConfigDict
from selfsup.config import defaults


def pretext(method: str) -> ConfigDict:
    """A small convolutional network whose features a pretext task trains: 40 epochs of 17 batches of 256 images."""
    c = defaults()
    c.method.name = method
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128, 256)
    c.model.first_stride = 2

    c.data.source = 'tfds:cifar10'
    c.data.per_class = 500
    c.data.batch_size = 256

    c.augment.recipe = method
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.learning_rate = 2e-3
    c.optimizer.warmup_epochs = 2.0
    c.train.epochs = 40
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
