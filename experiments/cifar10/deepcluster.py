"""DeepCluster on CIFAR-10: the authors' clusters, whitening and weights on this folder's network and SGD.

    python -m selfsup.train --config=experiments/cifar10/deepcluster.py --workdir=runs/cifar10/deepcluster

Hardware, time, result: not run yet. The authors publish none on CIFAR-10.
"""

from common import SGD, cifar10, crop_and_flip


def get_config():
    c = cifar10('deepcluster')
    c.method.clusters = 100  # ten times the classes
    c.method.components = 256
    c.augment.views.crops = crop_and_flip(0.3)
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.optimizer.update(SGD, learning_rate=0.05, weight_decay=1e-5)
    c.optimizer.schedule = 'constant'
    c.train.epochs = 200
    return c
