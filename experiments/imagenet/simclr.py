"""SimCLR on ImageNet with ResNet-50, the paper's recipe (100 epochs, batch 4096).

    python -m selfsup.train --config=experiments/imagenet/simclr.py --workdir=runs/imagenet/simclr

Hardware, time, result: not run yet;
4096 images of 224x224 need several devices. No published figure of this setting is quoted.
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simclr'
    c.method.temperature = 0.1
    c.method.scale = 2.0  # the authors add the two views' means
    c.projector.widths = (2048, 2048, 128)
    c.projector.hidden_bias = False
    c.projector.last_bias = False
    c.projector.last_norm = 'scale'
    c.model.name = 'resnet50'
    c.model.zero_init_residual = False

    c.data.source = 'tfds:imagenet2012'
    c.data.image_size = 256  # evaluation's, before its centre crop
    c.data.crop = 'reading'
    c.data.channels = 3
    c.data.batch_size = 4096
    c.data.holdout = 0.01
    c.data.feed = 'streaming'
    c.data.workers = 16

    c.augment.recipe = 'simclr'
    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)
    c.augment.evaluation_crop = 224

    c.optimizer.name = 'lars_classic'
    c.optimizer.learning_rate = 4.8  # 0.075 x sqrt(4096)
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0

    c.train.epochs = 100
    c.train.precision = 'bfloat16'
    c.train.log_every = 100
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 1
    c.evaluate.neighbours = 20
    return c
