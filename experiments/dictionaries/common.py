"""What the dictionaries have in common: one view, the rows as they are; Adam with clipping; a linear encoder."""

from selfsup.config import defaults


def base(method, units=256):
    """A dictionary of `units` atoms of scikit-learn's digits as vectors of 64 standardised numbers."""
    c = defaults()
    c.method.name = method
    c.model.name = 'mlp'
    c.model.widths = (units,)
    c.data.source = 'vectors:digits'
    c.data.batch_size = 128
    c.augment.recipe = ''
    c.augment.views = {'row': {'count': 1}}
    c.augment.mean = (0.0,)
    c.augment.std = (1.0,)
    c.optimizer.learning_rate = 2e-3
    c.optimizer.weight_decay = 0.0
    c.optimizer.clip_norm = 1.0
    c.optimizer.warmup_epochs = 5.0
    c.train.epochs = 100
    c.monitor.every_epochs = 20
    c.checkpoint.best = 'rankme'
    return c
