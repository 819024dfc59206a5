"""SupCon, which sees the labels of 5,000 images of CIFAR-10 (500 per class), with LoRot beside it.

    python -m selfsup.train --config=experiments/cifar5k_pretext/supcon_lorot.py --workdir=runs/cifar5k_pretext/lorot

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md. Without LoRot:
`--config.method.regularisers.lorot.weight=0`.
"""

from common import pretext


def get_config():
    c = pretext('supcon')
    c.method.temperature = 0.2
    c.method.regularisers.lorot = dict(weight=0.1, answers=16)
    c.projector.widths = (512, 128)
    c.augment.recipe = ''
    crop = dict(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic')
    jitter = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8)
    task = dict(part='quadrant')
    c.augment.views.both = dict(size=32, count=2, crop=crop, flip=0.5, jitter=jitter, grey=0.2, part_turn=task)
    c.checkpoint.best = 'alignment'
    return c
