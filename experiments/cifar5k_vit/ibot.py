"""iBOT on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k_vit/ibot.py --workdir=runs/cifar5k_vit/ibot

Hardware, time, result: docs/masked.md.
"""

from common import head, two_views


def get_config():
    c = two_views('ibot')
    c.method.update(head(1024))
    c.method.patch_temperature = 0.04
    c.projector.widths = (512, 512, 128)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'
    c.optimizer.clip_norm = 3.0
    return c
