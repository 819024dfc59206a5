"""I-JEPA on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/ijepa.py --workdir=runs/cifar5k_vit/ijepa

Hardware, time, result: docs/masked.md.
"""

from common import one_view


def get_config():
    c = one_view('ijepa')
    c.method.context = 16  # of 64 patches; so many are always allowed
    c.method.least = 8
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.class_token = False
    c.predictor.kind = 'transformer'
    c.predictor.dim = 96
    c.predictor.depth = 2
    c.predictor.heads = 3
    return c
