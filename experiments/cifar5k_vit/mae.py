"""MAE on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/mae.py --workdir=runs/cifar5k_vit/mae

Hardware, time, result: docs/masked.md.
"""

from common import one_view


def get_config():
    c = one_view('mae')
    c.method.ratio = 0.75  # 16 of 64 patches are seen
    c.method.normalize = True
    c.decoder.kind = 'transformer'
    c.decoder.dim = 96
    c.decoder.depth = 2
    c.decoder.heads = 3
    return c
