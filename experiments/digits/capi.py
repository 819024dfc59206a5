"""CAPI on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/capi.py --workdir=runs/digits/capi

16 patches of 2x2, of which 6 are seen and 5 of the others predicted; 64 clusters for batches of 128. Not yet run to
its end. A run of 20 epochs (200 steps, seed 0), which is short, gained nothing: on the 359 test images k-NN is 41.2 %
(untrained encoder 48.2), ten labels per class 44.0 (44.8); 3 % of what the mean assignment leaves is explained, and
all clusters are used.
"""

from common import one_view


def get_config():
    c = one_view('capi')
    c.method.prototypes = 64
    c.method.ratio = 0.65
    c.method.predict = 0.5
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.positions = 'learned'  # as in I-JEPA's config: fixed ones outweigh the pixels of a digit
    c.model.class_token = False
    c.predictor.kind = 'cross'
    c.predictor.dim = 64
    c.predictor.depth = 2
    c.predictor.heads = 4
    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.train.epochs = 100
    return c
