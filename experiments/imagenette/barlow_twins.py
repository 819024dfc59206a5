"""Barlow Twins on Imagenette at 160 pixels with ResNet-18.

    python -m selfsup.train --config=experiments/imagenette/barlow_twins.py --workdir=runs/imagenette/barlow_twins

Images of 320 pixels cropped to 160. The optimiser's settings are those of solo-learn's ImageNet-100 recipe; no
published figure of this setting is quoted.
Hardware, time, result: not run yet.
"""

from common import imagenette


def get_config():
    c = imagenette('barlow_twins', pixels=320, side=160)
    c.method.scale = 0.1
    c.projector.widths = (2048, 2048, 2048)
    c.augment.recipe = 'vicreg'
    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.3  # x batch / 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5
    c.train.epochs = 400
    return c
