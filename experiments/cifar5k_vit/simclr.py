"""SimCLR on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/simclr.py --workdir=runs/cifar5k_vit/simclr

Hardware, time, result: docs/masked.md.
"""

from common import two_views


def get_config():
    c = two_views('simclr')
    c.method.temperature = 0.2
    c.projector.widths = (512, 128)
    return c
