"""GMML on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/gmml.py --workdir=runs/digits/gmml

Not yet run to its end and evaluated. After 100 steps (seed 0, warm-up of 50) k-NN on the held-out part (143 images) is
84.6 %, of the untrained encoder 65.0; 7 % of the corrupted pixels' error beyond the mean at each place is explained.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('gmml')
    c.method.noise_share = 0.6
    c.method.largest = 0.65  # rectangles of up to four of eight pixels
    c.method.layers = (2, 3)
    c.model.positions = 'sincos'
    c.decoder.kind = 'mlp'
    c.decoder.widths = (64, 64)
    c.decoder.hidden_norm = False
    c.decoder.activation = 'gelu'
    c.optimizer.update(MAE_ADAMW)
    c.train.epochs = 100
    return c
