"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def imagenet(method: str, *, batch_size: int, epochs: int) -> ConfigDict:
    """ImageNet-1k at 224 pixels, each view cropped from the full image as in the papers, and a ResNet-50."""
    c = defaults()
    c.method.name = method
    c.model.name = 'resnet50'

    c.data.source = 'tfds:imagenet2012'
    c.data.image_size = 256  # evaluation's, before its centre crop
    c.data.crop = 'reading'
    c.data.channels = 3
    c.data.batch_size = batch_size
    c.data.holdout = 0.01
    c.data.feed = 'streaming'
    c.data.workers = 16

    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)
    c.augment.evaluation_crop = 224

    c.train.epochs = epochs
    c.train.precision = 'bfloat16'
    c.train.log_every = 100
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 1
    c.evaluate.neighbours = 20
    return c
