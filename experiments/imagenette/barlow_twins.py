"""Barlow Twins on Imagenette at 160 pixels with ResNet-18.

    python -m selfsup.train --config=experiments/imagenette/barlow_twins.py --workdir=runs/imagenette/barlow_twins

Images of 320 pixels cropped to 160. The optimiser's settings are those of solo-learn's ImageNet-100 recipe; no
published figure of this setting is quoted.
Hardware, time, result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'barlow_twins'
    c.method.scale = 0.1
    c.projector.widths = (2048, 2048, 2048)
    c.model.name = 'resnet18'

    c.data.source = 'tfds:imagenette/320px-v2'
    c.data.image_size = 160  # evaluation's: shorter side and centre crop
    c.data.channels = 3
    c.data.crop = 'reading'  # views are cropped from the full image
    c.data.feed = 'streaming'
    c.data.workers = 8
    c.data.batch_size = 256
    c.data.holdout = 0.05

    c.augment.recipe = 'vicreg'
    c.augment.size = 160
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.3  # x batch / 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5

    c.train.epochs = 400
    c.train.precision = 'bfloat16'
    c.train.log_every = 20
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 20
    return c
