"""Decoupled contrastive learning (DCL) on CIFAR-10.

    python -m selfsup.train --config=experiments/cifar10/decoupled.py --workdir=runs/cifar10/decoupled

solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04) with another loss.
Hardware, time, result: not run yet. Published elsewhere: 85.4 linear after 200 epochs at batch 256.
DCLW: --config.method.sigma=0.5.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'decoupled'
    c.method.temperature = 0.1  # lower than SimCLR's 0.2 there: the ports' default
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_symmetric'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.4  # x batch / 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5

    c.train.epochs = 1000
    c.train.precision = 'bfloat16'  # theirs: fp16-mixed
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 200
    c.evaluate.temperature = 0.1
    return c
