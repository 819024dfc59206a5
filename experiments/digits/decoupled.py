"""Decoupled contrastive learning (DCL) on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/decoupled.py --workdir=runs/digits/decoupled

Two CPU cores, one to two minutes. Result with ten labels per class: 95.8 % (untrained encoder 88.7;
one run of seed 0); more seeds and the shuffled-pairs control: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'decoupled'
    c.method.temperature = 0.5
    c.model.name = 'convnet'
    c.projector.widths = (256, 128)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
