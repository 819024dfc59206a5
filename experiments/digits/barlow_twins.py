"""Barlow Twins on scikit-learn's 8x8 digits."""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'barlow_twins'
    c.model.name = 'convnet'
    c.method.lambd = 0.02
    c.projector.widths = (512, 512, 256)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
