"""TiCo on CIFAR-10, lightly's recipe for its small benchmarks (SGD, 2026-08), to stand side by side.

    python -m selfsup.train --config=experiments/cifar10/tico.py --workdir=runs/cifar10/tico

Hardware, time, result: not run yet. lightly publishes no CIFAR-10 result for it.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'tico'
    c.method.beta = 0.9
    c.method.rho = 20.0
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (1024, 256)
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.recipe = 'solo_asymmetric'
    c.augment.size = 32
    c.augment.mean = (0.485, 0.456, 0.406)  # ImageNet's, as there
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.name = 'sgd'
    c.optimizer.decay_vectors = True
    c.optimizer.learning_rate = 0.12  # 0.06 x batch / 128
    c.optimizer.weight_decay = 5e-4
    c.optimizer.warmup_epochs = 0.0

    c.train.epochs = 800
    c.train.precision = 'bfloat16'
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 200
    c.evaluate.temperature = 0.1
    return c
