"""SCAN's self-labels on CIFAR-10, from its clusters: a weak view names, a strong one (RandAugment, cutout) learns.

    python -m selfsup.train --config=experiments/continued/cifar10_scan.py --workdir=runs/continued/cifar10_scan
    python -m selfsup.train --config=experiments/continued/cifar10_scan_self_label.py --workdir=runs/continued/labels
    python -m selfsup.evaluate --workdir=runs/continued/labels --only=clustering

Hardware, time, result: not run yet. The authors' matched accuracy: 87.6 % (mean of ten runs), from their clusters.
"""

from common import cifar10, continued


def get_config():
    c = cifar10(continued('scan_self_label', 'runs/continued/cifar10_scan', 1e-4, 200))
    c.method.clusters = 10
    c.method.threshold = 0.99
    c.init_networks = ('encoder', 'head')
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'
    c.data.batch_size = 1000
    c.data.holdout = 0.02
    c.augment.views.weak = dict(size=32, flip=0.5)
    c.augment.views.strong = dict(order=1, size=32, flip=0.5, rand_augment=dict(operations=4), cutout=dict(side=16))
    return c
