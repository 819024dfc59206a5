"""Rotation on CIFAR-10: the authors' optimiser and batches with a ResNet-18 and a cosine schedule.

    python -m selfsup.train --config=experiments/cifar10/rotation.py --workdir=runs/cifar10/rotation

Hardware, time, result: not run yet. The authors divide the rate by five at epochs 60, 120 and 160 of 200, have Nesterov
momentum, and report classifiers on the second of the four blocks of another network.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('rotation')
    c.predictor.widths = (4,)
    c.data.batch_size = 128  # 512 pictures, in four turns each
    c.augment.recipe = 'rotation'
    c.optimizer.update(SGD, learning_rate=0.1, weight_decay=5e-4)
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
