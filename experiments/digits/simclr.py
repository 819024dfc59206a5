"""SimCLR on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/simclr.py --workdir=runs/digits/simclr

Two CPU cores, about a minute. Result with ten labels per class: 95.9 ± 0.9 %
(untrained encoder 86.1, shuffled pairs 86.2),
mean and deviation of seeds 1 to 3.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simclr'
    c.method.temperature = 0.5
    c.model.name = 'convnet'
    c.projector.widths = (256, 128)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
