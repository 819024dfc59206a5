"""ClusterNet on scikit-learn's 8x8 digits: an autoencoder and ten clusters, with the labels of 2 % of the images.

    python -m selfsup.train --config=experiments/digits/clusternet.py --workdir=runs/digits/clusternet
    python -m selfsup.evaluate --workdir=runs/digits/clusternet --only=clustering

Result with ten labels per class: 88.0 ± 1.1 % (untrained encoder 85.8, shuffled pairs 83.2), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('clusternet')
    c.method.labelled = 0.02
    c.method.label_seed = 3  # 24 of 1,295 images, at least one of each class; other draws may lack a class
    c.method.pretrain_steps = 200  # 40 epochs of 5
    # With few labels alone the network fits them and no more, so the other images count an epoch later.
    c.method.start_steps = 205
    c.projector.widths = (32,)
    c.decoder.kind = 'mlp'
    c.decoder.widths = (128,)
    c.augment.recipe = ''
    c.augment.views.only = dict(count=1)  # images as they are
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c
