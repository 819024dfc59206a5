"""SCAN on CIFAR-10 from SimCLR's encoder, the authors' recipe: Adam, 1e-4, 50 epochs of batches of 128.

    python -m selfsup.train --config=experiments/cifar10/simclr.py --workdir=runs/cifar10/simclr
    python -m selfsup.train --config=experiments/continued/cifar10_scan.py --workdir=runs/continued/cifar10_scan
    python -m selfsup.evaluate --workdir=runs/continued/cifar10_scan --only=clustering

Hardware, time, result: not run yet. The authors' matched accuracy: 81.8 % (mean of ten runs), from their SimCLR.
"""

from common import cifar10, continued


def get_config():
    c = cifar10(continued('scan', 'runs/cifar10/simclr', 1e-4, 50))
    c.method.clusters = 10
    c.method.neighbours = 20
    c.method.entropy_weight = 5.0
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'
    c.data.batch_size = 128
    c.data.holdout = 0.02
    c.augment.recipe = 'solo_symmetric'
    c.augment.size = 32
    return c
