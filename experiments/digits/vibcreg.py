"""VIbCReg on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/vibcreg.py --workdir=runs/digits/vibcreg

Two CPU cores, one to two minutes. Result with ten labels per class: 96.4 %
(untrained encoder 87.6, shuffled pairs 85.3; seed 1).
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'vibcreg'
    c.model.name = 'convnet'
    c.projector.widths = (512, 512, 256)
    c.projector.last_norm = 'iterative'
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c
