"""Unicom on digits (An et al. 2023, https://arxiv.org/abs/2304.05884): the clusters of SimCLR's encoder, learned anew.

    python -m selfsup.train --config=experiments/digits/simclr.py --workdir=runs/digits/simclr
    python -m selfsup.train --config=experiments/continued/digits_unicom.py --workdir=runs/continued/digits_unicom
    python -m selfsup.evaluate --workdir=runs/continued/digits_unicom --only=retrieval,clustering

Two CPU cores, a minute. Result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'unicom'
    c.method.clusters = 400
    c.method.class_share = 0.7
    c.method.scale = 16.0
    c.init_from = 'runs/digits/simclr'
    c.model.name = 'convnet'
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 1e-3
    c.train.epochs = 50
    return c
