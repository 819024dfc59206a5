"""Barlow Twins on ImageNet-100 with ResNet-18, solo-learn's recipe (its scripts/pretrain/imagenet-100).

    python -m selfsup.pack --data=tfds:imagenet2012 --classes=experiments/imagenet100/classes.txt --out=data/imagenet100
    python -m selfsup.train --config=experiments/imagenet100/barlow_twins.py --workdir=runs/imagenet100/barlow_twins

The 100 classes are those of CMC (github.com/HobbitLong/CMC, imagenet100.txt), as solo-learn's and most others'.
Hardware, time, result: not run yet. solo-learn publishes 80.38 (online linear probe, 400 epochs, one run).
The crops are taken from the packed images, shorter side 256; theirs from the full ones.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'barlow_twins'
    c.method.scale = 0.1
    c.projector.widths = (2048, 2048, 2048)
    c.model.name = 'resnet18'

    c.data.source = 'shards:data/imagenet100'
    c.data.image_size = 224  # evaluation's
    c.data.channels = 3
    c.data.crop = 'reading'
    c.data.feed = 'streaming'
    c.data.workers = 8
    c.data.batch_size = 256  # theirs: 128 on each of two GPUs
    c.data.holdout = 0.02

    c.augment.recipe = 'vicreg'
    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.3  # x batch / 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5

    c.train.epochs = 400
    c.train.precision = 'bfloat16'  # theirs: fp16
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 10
    c.evaluate.neighbours = 20
    return c
