"""CMAE on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/cmae.py --workdir=runs/digits/cmae

Views of 10x10, of which parts of 8x8 are cut: 16 patches of 2x2, of which the encoder sees 8. Not yet run to its end.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('cmae')
    c.data.pad = 1
    c.augment.evaluation_crop = 8
    c.method.shift = 2
    c.method.ratio = 0.5
    c.method.unit = 1
    c.method.feature_depth = 1
    c.method.normalize = False  # most patches of a digit are constant: normalised, they all become zeros
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.positions = 'sincos'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 32
    c.decoder.depth = 1
    c.decoder.heads = 4
    c.projector.widths = (128, 32)
    c.predictor.widths = (128, 32)
    c.optimizer.update(MAE_ADAMW)
    c.train.epochs = 200
    return c
