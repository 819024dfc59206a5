"""MoCo v2 on scikit-learn's 8x8 digits."""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'moco_v2'
    c.method.temperature = 0.2
    c.method.queue = 4096
    c.method.momentum = 0.99
    c.method.groups = 8
    c.model.name = 'convnet'
    c.projector.widths = (256, 128)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
