"""DinoSR on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/dinosr.py --workdir=runs/digits/dinosr

16 patches of 2x2, of which up to 9 are hidden; codebooks of 32 codes for the last two of three blocks. Not yet run to
its end. A run of 20 epochs (200 steps, seed 0), which is short, gained nothing: on the 359 test images k-NN is 43.5 %
(untrained encoder 48.2), ten labels per class 46.9 (43.9), and the codes are predicted no better than by their
frequencies at each place.
"""

from common import one_view


def get_config():
    c = one_view('dinosr')
    c.method.ratio = 0.6
    c.method.layers = 2
    c.method.codes = 32
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.model.positions = 'learned'  # as in data2vec's config: fixed ones outweigh the pixels of a digit
    c.decoder.kind = 'linear'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.train.epochs = 60
    return c
