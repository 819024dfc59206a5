"""GMML on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/gmml.py --workdir=runs/digits/gmml

Not yet run to its end and evaluated. After 100 steps (seed 0, warm-up of 50) k-NN on the held-out part (143 images) is
84.6 %, of the untrained encoder 65.0; 7 % of the corrupted pixels' error beyond the mean at each place is explained.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'gmml'
    c.method.noise_share = 0.6
    c.method.largest = 0.65  # rectangles of up to four of eight pixels
    c.method.layers = (2, 3)
    c.model.name = 'vit_ti'
    c.model.dim = 64
    c.model.depth = 3
    c.model.heads = 4
    c.model.patch = 2
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'mlp'
    c.decoder.widths = (64, 64)
    c.decoder.hidden_norm = False
    c.decoder.activation = 'gelu'
    c.data.source = 'digits'
    c.data.batch_size = 128
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'digits_masked'
    c.augment.mean = (0.14,)
    c.augment.std = (0.29,)
    c.optimizer.learning_rate = 3e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.train.epochs = 100
    return c
