"""CrossMAE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/crossmae.py --workdir=runs/digits/crossmae

16 patches of 2x2, of which the encoder sees 8 and the decoder predicts 4. Not yet run to its end. A run of 20 epochs
(200 steps, seed 0), which is short, gained nothing: on the 359 test images k-NN is 56.8 % (untrained encoder 58.5),
ten labels per class 59.1 (61.4), and nothing of the hidden patches is explained.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('crossmae')
    c.method.ratio = 0.5
    c.method.predict = 0.25
    c.method.normalize = False  # most patches of a digit are constant: normalised, they all become zeros
    c.model.positions = 'sincos'
    c.decoder.kind = 'cross'
    c.decoder.dim = 32
    c.decoder.depth = 2
    c.decoder.heads = 4
    c.optimizer.update(MAE_ADAMW)
    c.train.epochs = 200
    return c
