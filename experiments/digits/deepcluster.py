"""DeepCluster on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/deepcluster.py --workdir=runs/digits/deepcluster

Two CPU cores, two minutes.
Result with ten labels per class: 77.9 % (untrained encoder 87.6, shuffled pairs 86.7), seed 1.
"""

from common import digits


def get_config():
    c = digits('deepcluster')
    c.method.clusters = 100  # ten times the classes, as the authors
    c.method.components = 64
    c.train.epochs = 50
    return c
