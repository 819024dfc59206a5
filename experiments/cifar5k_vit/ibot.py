"""iBOT on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/ibot.py --workdir=runs/cifar5k_vit/ibot

Hardware, time, result: docs/masked.md.
"""

from common import distilled


def get_config():
    c = distilled('ibot')
    c.method.patch_temperature = 0.04
    return c
