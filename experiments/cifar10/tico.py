"""TiCo on CIFAR-10, lightly's recipe for its small benchmarks (SGD, 2026-08), for comparison.

    python -m selfsup.train --config=experiments/cifar10/tico.py --workdir=runs/cifar10/tico

Hardware, time, result: not run yet. lightly publishes no CIFAR-10 result for it.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('tico')
    c.method.beta = 0.9
    c.method.rho = 20.0
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (1024, 256)
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps
    c.augment.recipe = 'solo_asymmetric'
    c.augment.mean = (0.485, 0.456, 0.406)  # ImageNet's, as there
    c.augment.std = (0.229, 0.224, 0.225)
    c.optimizer.update(SGD, learning_rate=0.12, weight_decay=5e-4)  # 0.06 x batch / 128
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 800
    return c
