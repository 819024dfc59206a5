"""Debiased contrastive learning with hard negatives (HCL) on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/debiased.py --workdir=runs/digits/debiased

Two CPU cores, about a minute. Result with ten labels per class: 96.5 %
(untrained encoder 87.6, shuffled pairs 86.3; seed 1).
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'debiased'
    c.method.temperature = 0.5
    c.method.positive_prior = 0.1
    c.method.concentration = 1.0
    c.model.name = 'convnet'
    c.projector.widths = (256, 128)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
