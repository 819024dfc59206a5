"""SCAN's self-labels on CIFAR-10, from its clusters: a weak view names, a strong one (RandAugment, cutout) learns.

    python -m selfsup.train --config=experiments/continued/cifar10_scan.py --workdir=runs/continued/cifar10_scan
    python -m selfsup.train --config=experiments/continued/cifar10_scan_self_label.py --workdir=runs/continued/labels
    python -m selfsup.evaluate --workdir=runs/continued/labels --only=clustering

Hardware, time, result: not run yet. The authors' matched accuracy: 87.6 % (mean of ten runs), from their clusters.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'scan_self_label'
    c.method.clusters = 10
    c.method.threshold = 0.99
    c.init_from = 'runs/continued/cifar10_scan'
    c.init_networks = ('encoder', 'head')
    c.model.name = 'resnet18'
    c.model.stem = 'cifar_pad2'
    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 1000
    c.data.holdout = 0.02
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)
    c.augment.views.weak = dict(size=32, flip=0.5)
    c.augment.views.strong = dict(size=32, flip=0.5, rand_augment=dict(operations=4), cutout=dict(side=16))
    c.optimizer.learning_rate = 1e-4
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 200
    return c
