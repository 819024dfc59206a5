"""VICRegL on CIFAR-10, the paper's recipe on small images.

    python -m selfsup.train --config=experiments/cifar10/vicregl.py --workdir=runs/cifar10/vicregl

Hardware, time, result: not run yet. No result is known for CIFAR-10.
A map has 4 x 4 places; the paper keeps 20 of 49 matches by position.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'vicregl'
    c.method.alpha = 0.75
    c.method.local_widths = (512, 512, 512)
    c.method.matches = (6, 6)
    c.projector.widths = (2048, 2048, 2048)
    c.model.name = 'resnet18'
    c.model.stem = 'cifar'  # 3x3 and no max-pool

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_asymmetric'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 5e-4  # x batch / 256
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.final_share = 1e-3
    c.optimizer.groups.local_projector = dict(scale=0.1)

    c.train.epochs = 1000
    c.train.precision = 'bfloat16'
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 200
    c.evaluate.temperature = 0.1
    return c
