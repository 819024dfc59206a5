"""What the configs of this folder share: rendered sprites whose factors are known, and the views of them."""

from typing import Any

from ml_collections import ConfigDict
from selfsup.config import defaults

IMAGES = 2_000


def sprites(method: str) -> ConfigDict:
    """2,000 sprites of 32 x 32 (shape, colour, size, angle, row, column), 30 epochs of batches of 128."""
    c = defaults()
    c.method.name = method
    c.data.source = f'shapes:{IMAGES}'
    c.data.batch_size = 128
    c.augment.recipe = ''
    c.augment.size = 32
    c.augment.mean = (0.1,)
    c.augment.std = (0.25,)
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 30
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 30
    return c


def view(**more: Any) -> dict[str, Any]:
    """Two views of an image: moved and scaled by a crop, turned, and in other colours."""
    return dict(
        size=32,
        count=2,
        crop=dict(scale=(0.6, 1.0), ratio=(1.0, 1.0), method='bilinear'),
        rotation=dict(degrees=90.0),
        jitter=dict(p=1.0, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.3),
        **more,
    )


def two_views(method: str) -> ConfigDict:
    """A convolutional network of three layers, and two views."""
    c = sprites(method)
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128)
    c.model.first_stride = 2
    c.projector.widths = (256, 128)
    c.augment.views.both = view()
    return c
