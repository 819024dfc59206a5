"""WhitenedCSE (Zhuo et al. 2023) on vectors: scikit-learn's digits as 64 numbers each, views without half of them.

    python -m selfsup.train --config=experiments/vectors/whitened_contrastive.py --workdir=runs/vectors/whitened

Two CPU cores, about a minute. Result: not measured yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'whitened_contrastive'
    c.method.temperature = 0.2
    c.method.column_groups = 64
    c.projector.widths = (256, 256)
    c.projector.hidden_norm = False
    c.model.name = 'mlp'
    c.data.source = 'vectors:digits'
    c.data.batch_size = 128
    c.augment.recipe = 'simcse'
    c.augment.mean = (0.0,)
    c.augment.std = (1.0,)
    c.train.epochs = 100
    return c
