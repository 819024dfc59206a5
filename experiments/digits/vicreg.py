"""VICReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vicreg.py --workdir=runs/digits/vicreg

Two CPU cores, about a minute. Result with ten labels per class: 96.4 ± 0.5 %
(untrained encoder 86.1, shuffled pairs 86.6),
mean and deviation of seeds 1 to 3.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'vicreg'
    c.model.name = 'convnet'
    c.projector.widths = (512, 512, 256)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
