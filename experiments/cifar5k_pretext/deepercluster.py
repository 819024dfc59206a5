"""DeeperCluster on 5,000 images of CIFAR-10 (500 per class): one turn of each image, 4 x 25 clusters.

    python -m selfsup.train --config=experiments/cifar5k_pretext/deepercluster.py --workdir=runs/cifar5k_pretext/deeper

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('deepercluster')
    c.method.superclusters = 4
    c.method.clusters = 25  # a hundred in all, ten times the classes
    c.method.components = 64
    # As the recipe of rotation, with one of the turns, as the authors.
    c.augment.recipe = ''
    crop = dict(scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    c.augment.views.only = dict(size=32, count=1, crop=crop, flip=0.5, turns=dict(copies=1))
    return c
