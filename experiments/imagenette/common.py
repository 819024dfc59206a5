"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def imagenette(method: str, *, pixels: int, side: int) -> ConfigDict:
    """Imagenette of images whose shorter side has so many pixels, cropped to a side, with a ResNet-18."""
    c = defaults()
    c.method.name = method
    c.model.name = 'resnet18'

    c.data.source = f'tfds:imagenette/{pixels}px-v2'
    c.data.image_size = side  # evaluation's: shorter side and centre crop
    c.data.channels = 3
    c.data.crop = 'reading'  # views are cropped from the full image
    c.data.feed = 'streaming'
    c.data.workers = 8
    c.data.batch_size = 256
    c.data.holdout = 0.05

    c.augment.size = side
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.train.precision = 'bfloat16'
    c.train.log_every = 20
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 20
    return c
