"""BootMAE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/bootmae.py --workdir=runs/digits/bootmae

16 patches of 2x2, of which the encoder sees 8. Not yet run to its end.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('bootmae')
    c.method.ratio = 0.5
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.warmup_steps = 500  # a quarter of the run
    c.model.positions = 'sincos'
    for section in (c.decoder, c.predictor):
        section.kind = 'cross'
        section.dim = 32
        section.depth = 1
        section.heads = 4
        section.self_attention = True
    c.optimizer.update(MAE_ADAMW)
    c.train.epochs = 200
    return c
