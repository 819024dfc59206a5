"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def imagenet100(method: str, *, batch_size: int) -> ConfigDict:
    """ImageNet-100 at 224 pixels with a ResNet-18, and what solo-learn's recipes for it have in common."""
    c = defaults()
    c.method.name = method
    c.model.name = 'resnet18'

    c.data.source = 'shards:data/imagenet100'
    c.data.image_size = 224  # evaluation's
    c.data.channels = 3
    c.data.crop = 'reading'
    c.data.feed = 'streaming'
    c.data.workers = 8
    c.data.batch_size = batch_size
    c.data.holdout = 0.02

    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5

    c.train.epochs = 400
    c.train.precision = 'bfloat16'  # theirs: fp16
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 10
    c.evaluate.neighbours = 20
    return c
