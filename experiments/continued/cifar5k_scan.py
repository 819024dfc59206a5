"""SCAN on 5,000 images of CIFAR-10, from SimCLR's encoder (experiments/cifar5k).

    python -m selfsup.train --config=experiments/cifar5k/simclr.py --workdir=runs/cifar5k/simclr
    python -m selfsup.train --config=experiments/continued/cifar5k_scan.py --workdir=runs/continued/cifar5k_scan
    python -m selfsup.evaluate --workdir=runs/continued/cifar5k_scan --only=clustering

Two CPU cores, minutes. Result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'scan'
    c.method.clusters = 10
    c.init_from = 'runs/cifar5k/simclr'
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128, 256)
    c.model.first_stride = 2
    c.data.source = 'tfds:cifar10'
    c.data.per_class = 500
    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)
    c.optimizer.learning_rate = 1e-2  # of the new head; with 2e-4 it lags behind an encoder that moves
    c.optimizer.groups.encoder = dict(scale=0.02)
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 20
    return c
