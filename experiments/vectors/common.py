"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def digits(method: str, recipe: str) -> ConfigDict:
    """scikit-learn's digits as tables of 64 standardised numbers, and an MLP, for 100 epochs."""
    c = defaults()
    c.method.name = method
    c.model.name = 'mlp'
    c.projector.widths = (256, 256)
    c.data.source = 'vectors:digits'
    c.data.batch_size = 128
    c.augment.recipe = recipe
    c.augment.mean = (0.0,)
    c.augment.std = (1.0,)
    c.train.epochs = 100
    return c
