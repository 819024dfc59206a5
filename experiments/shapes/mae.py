"""MAE on rendered sprites whose factors are known.

    python -m selfsup.train --config=experiments/shapes/mae.py --workdir=runs/shapes/mae

Hardware, time, result: two CPU cores, minutes; docs/equivariance.md.
"""

from common import sprites


def get_config():
    c = sprites('mae')
    c.model.name = 'vit_ti'
    c.model.dim = 128
    c.model.depth = 4
    c.model.heads = 4
    c.model.patch = 4
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.method.ratio = 0.5
    c.method.normalize = False  # most patches are black: normalised, they all become zeros
    c.decoder.kind = 'transformer'
    c.decoder.dim = 64
    c.decoder.depth = 1
    c.decoder.heads = 4
    c.augment.views.only = dict(size=32, count=1, crop=dict(scale=(0.6, 1.0), ratio=(1.0, 1.0), method='bilinear'))
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.optimizer.update(learning_rate=1e-3, beta2=0.95, weight_decay=0.05)
    return c
