"""SeLa on CIFAR-10, after the authors' `cifar.py`: 20 heads of 128 clusters, batches of 64.

    python -m selfsup.train --config=experiments/cifar10/sela.py --workdir=runs/cifar10/sela

Hardware, time, result: not run yet. Theirs makes labels from augmented images, and its rate falls in steps.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('sela')
    c.method.clusters = 128
    c.method.heads = 20
    c.method.sharpness = 10.0
    c.method.every_epochs = 2  # 400 times in 800 epochs
    c.data.batch_size = 64
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.05, weight_decay=5e-4)
    c.train.epochs = 800
    return c
