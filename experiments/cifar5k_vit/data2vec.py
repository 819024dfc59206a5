"""data2vec on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/data2vec.py --workdir=runs/cifar5k_vit/data2vec

Hardware, time, result: docs/masked.md.
"""

from common import one_view


def get_config():
    c = one_view('data2vec')
    c.method.ratio = 0.6
    c.method.layers = 3
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.decoder.kind = 'linear'
    return c
