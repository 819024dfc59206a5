"""SCAN on 5,000 images of CIFAR-10, from SimCLR's encoder (experiments/cifar5k).

    python -m selfsup.train --config=experiments/cifar5k/simclr.py --workdir=runs/cifar5k/simclr
    python -m selfsup.train --config=experiments/continued/cifar5k_scan.py --workdir=runs/continued/cifar5k_scan
    python -m selfsup.evaluate --workdir=runs/continued/cifar5k_scan --only=clustering

Two CPU cores, minutes. Result: not run yet.
"""

from common import cifar10, continued


def get_config():
    c = cifar10(continued('scan', 'runs/cifar5k/simclr', 1e-2, 20))  # the rate is of the new head, see the group
    c.method.clusters = 10
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128, 256)
    c.model.first_stride = 2
    c.data.per_class = 500
    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 32
    c.optimizer.groups.encoder = dict(scale=0.02)  # with 2e-4 for both the head lags behind an encoder that moves
    return c
