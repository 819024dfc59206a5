"""MaskFeat on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/maskfeat.py --workdir=runs/digits/maskfeat

16 patches of 2x2, of which up to 8 are hidden; a patch has one histogram. Not yet run to its end.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('maskfeat')
    c.method.ratio = 0.5
    c.method.cells = 1
    c.model.positions = 'sincos'
    c.decoder.kind = 'linear'
    c.decoder.init_kernels = 'xavier'
    c.optimizer.update(MAE_ADAMW)
    c.train.epochs = 100
    return c
