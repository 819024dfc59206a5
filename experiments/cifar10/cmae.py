"""CMAE on CIFAR-10 with ViT-Ti and patches of 4x4: the authors' recipe at a small size, without changes of colour.

    python -m selfsup.train --config=experiments/cifar10/cmae.py --workdir=runs/cifar10/cmae

Hardware, time, result: not run yet. No published linear probe of this setting is known to us. Views are 36x36, of which
parts of 32x32 are cut.
"""

from common import MAE_ADAMW, crop_and_flip, one_view


def get_config():
    c = one_view('cmae')
    c.method.shift = 4
    c.method.ratio = 0.65  # 11 of 16 squares of 8x8 pixels
    c.method.unit = 2
    c.method.feature_depth = 2
    c.method.momentum = 0.996
    c.method.momentum_final = 1.0
    c.model.positions = 'sincos'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 96
    c.decoder.depth = 4
    c.decoder.heads = 3
    c.projector.widths = (384, 256)
    c.predictor.widths = (384, 256)

    c.augment.size = 36
    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.2, size=36)

    c.optimizer.update(MAE_ADAMW, warmup_epochs=40.0)
    return c
