"""MoCo v2 on ImageNet with ResNet-50, the paper's recipe (200 epochs, batch 256).

    python -m selfsup.train --config=experiments/imagenet/moco_v2.py --workdir=runs/imagenet/moco_v2

Hardware, time, result: not run yet;
the authors used 8 GPUs. The paper reports 67.5 (linear probe, top-1).
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'moco_v2'
    c.method.temperature = 0.2
    c.method.queue = 65536
    c.method.momentum = 0.999
    c.method.momentum_final = 0.999
    c.method.groups = 8
    c.projector.widths = (2048, 128)
    c.projector.hidden_norm = False
    c.model.name = 'resnet50'
    c.model.zero_init_residual = False

    c.data.source = 'tfds:imagenet2012'
    c.data.image_size = 256  # evaluation's, before its centre crop
    c.data.crop = 'reading'
    c.data.channels = 3
    c.data.batch_size = 256
    c.data.holdout = 0.01
    c.data.feed = 'streaming'
    c.data.workers = 16

    c.augment.recipe = 'moco_v2'
    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)
    c.augment.evaluation_crop = 224

    c.optimizer.name = 'sgd'
    c.optimizer.learning_rate = 0.03  # for batch 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.decay_vectors = True
    c.optimizer.warmup_epochs = 0.0

    c.train.epochs = 200
    c.train.precision = 'bfloat16'
    c.train.log_every = 100
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 1
    c.evaluate.neighbours = 20
    return c
