"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def digits(method: str) -> ConfigDict:
    """scikit-learn's 8x8 digits and a three-layer convolutional network, for 100 epochs."""
    c = defaults()
    c.method.name = method
    c.model.name = 'convnet'
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
