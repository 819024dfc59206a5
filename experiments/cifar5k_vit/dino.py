"""DINO on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/dino.py --workdir=runs/cifar5k_vit/dino

Hardware, time, result: docs/masked.md.
"""

from common import distilled


def get_config():
    return distilled('dino')
