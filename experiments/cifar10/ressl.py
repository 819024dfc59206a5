"""ReSSL on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), to stand side by side.

    python -m selfsup.train --config=experiments/cifar10/ressl.py --workdir=runs/cifar10/ressl

Hardware, time, result: not run yet. solo-learn publishes 90.63 (online linear probe, one run).
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'ressl'
    c.method.temperature = 0.1
    c.method.teacher_temperature = 0.04
    c.method.queue = 65536
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (4096, 256)
    c.projector.hidden_norm = False
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_ressl'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'sgd'
    c.optimizer.decay_vectors = True
    c.optimizer.learning_rate = 0.05  # x batch / 256
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
