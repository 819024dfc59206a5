"""DeepCluster on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/deepcluster.py --workdir=runs/digits/deepcluster

Two CPU cores, two minutes. Twenty steps an epoch and a rate of 0.04 for the head, which begins anew each epoch: with
five steps of 256 images and the encoder's rate its loss stays at log 100 and the encoder learns nothing.
Result with ten labels per class: 95.6 ± 0.3 % (untrained encoder 87.1, shuffled pairs 16.1), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('deepcluster')
    c.method.clusters = 100  # ten times the classes, as the authors
    c.method.components = 64
    c.data.batch_size = 64
    c.optimizer.groups.head = dict(scale=20.0)
    c.train.epochs = 50
    return c
