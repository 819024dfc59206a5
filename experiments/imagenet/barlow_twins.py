"""Barlow Twins on ImageNet with ResNet-50, the paper's recipe (1000 epochs, batch 2048).

    python -m selfsup.train --config=experiments/imagenet/barlow_twins.py --workdir=runs/imagenet/barlow_twins

Hardware, time, result: not run yet;
2048 images of 224x224 need several devices. The paper reports 73.2 (linear probe, top-1).
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'barlow_twins'
    c.method.lambd = 0.0051
    c.projector.widths = (8192, 8192, 8192)
    c.projector.hidden_bias = False
    c.projector.last_bias = False
    c.model.name = 'resnet50'
    c.model.zero_init_residual = True

    c.data.source = 'tfds:imagenet2012'
    c.data.image_size = 256  # evaluation's, before its centre crop
    c.data.crop = 'reading'
    c.data.channels = 3
    c.data.batch_size = 2048
    c.data.holdout = 0.01
    c.data.feed = 'streaming'
    c.data.workers = 16

    c.augment.recipe = 'vicreg'
    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)
    c.augment.evaluation_crop = 224

    c.optimizer.name = 'lars'
    c.optimizer.learning_rate = 1.6  # 0.2 x 2048 / 256
    c.optimizer.weight_decay = 1e-6
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.final_share = 0.001

    c.train.epochs = 1000
    c.train.precision = 'bfloat16'
    c.train.log_every = 100
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 1
    c.evaluate.neighbours = 20
    return c
