"""MAE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/mae.py --workdir=runs/digits/mae

Padded to 12x12, 36 patches of 2x2, of which the encoder sees 9.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'mae'
    c.method.ratio = 0.75
    c.method.normalize = False  # most patches of a digit are constant: normalised, they all become zeros
    c.model.name = 'vit_ti'
    c.model.dim = 64
    c.model.depth = 3
    c.model.heads = 4
    c.model.patch = 2
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 32
    c.decoder.depth = 1
    c.decoder.heads = 4
    c.data.source = 'digits'
    c.data.pad = 2
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'digits_masked'
    c.optimizer.learning_rate = 2e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.train.epochs = 100
    return c
