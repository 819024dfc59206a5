"""LeJEPA on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/lejepa.py --workdir=runs/digits/lejepa

Two CPU cores, one to two minutes. Result with ten labels per class: 93.9 %
(untrained encoder 87.4, shuffled pairs 87.4; seed 1).
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'lejepa'
    c.method.lambd = 0.05
    c.method.directions = 256
    c.model.name = 'convnet'
    c.projector.widths = (256, 64)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
