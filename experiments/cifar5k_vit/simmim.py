"""SimMIM on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/simmim.py --workdir=runs/cifar5k_vit/simmim

Hardware, time, result: docs/masked.md.
"""

from common import one_view


def get_config():
    c = one_view('simmim')
    c.method.ratio = 0.6
    c.method.unit = 1
    c.decoder.kind = 'linear'
    return c
