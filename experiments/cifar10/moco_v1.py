"""MoCo v1 on CIFAR-10: the paper's method with the optimiser and views of solo-learn's MoCo v2+ recipe.

    python -m selfsup.train --config=experiments/cifar10/moco_v1.py --workdir=runs/cifar10/moco_v1

Hardware, time, result: not run yet. solo-learn has no MoCo v1; its v2+ recipe otherwise.
One direction, a linear head and shuffled batch-norm in 8 groups, as in the paper.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'moco_v1'
    c.method.temperature = 0.07
    c.method.queue = 32768
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 8
    c.projector.widths = (128,)  # one linear layer
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'sgd'
    c.optimizer.decay_vectors = True
    c.optimizer.learning_rate = 0.3  # x batch / 256
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
