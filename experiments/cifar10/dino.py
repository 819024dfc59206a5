"""DINO on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), to stand side by side.

    python -m selfsup.train --config=experiments/cifar10/dino.py --workdir=runs/cifar10/dino

Hardware, time, result: not run yet. solo-learn publishes 89.52 (online linear probe, one run).
Two views without multi-crop, as there. An epoch is 49,000 // 256 = 191 steps.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'dino'
    c.method.prototypes = 4096
    c.method.student_temperature = 0.1
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.07
    c.method.warmup_steps = 50 * 191
    c.method.momentum = 0.9995
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 256)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_asymmetric'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.name = 'lars_clipped'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.3  # x batch / 256
    c.optimizer.weight_decay = 1e-6
    c.optimizer.groups.prototypes = dict(freeze_steps=191)
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
