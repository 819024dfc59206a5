"""data2vec on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/data2vec.py --workdir=runs/digits/data2vec

Two CPU cores shared with other work, six minutes. 16 patches of 2x2, of which up to 9 are hidden. On the 359 test
images, seed 1: k-NN 48.7 % (untrained encoder 43.2, raw pixels 97.5), ten labels per class 49.5 (41.9, 89.5). Of what
the mean target leaves, 20 to 30 % is explained.
"""

from common import one_view


def get_config():
    c = one_view('data2vec')
    c.method.ratio = 0.6
    c.method.layers = 2
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.model.positions = 'learned'  # fixed ones outweigh the pixels of a digit: images get nearly the same targets
    c.decoder.kind = 'linear'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.train.epochs = 60
    return c
