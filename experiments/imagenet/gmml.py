"""GMML on ImageNet with ViT-S/16, the recipe of its code (800 epochs).

    python -m selfsup.train --config=experiments/imagenet/gmml.py --workdir=runs/imagenet/gmml

Hardware, time, result: not run yet; 1024 images of several crops need several devices.
The authors report fine-tuning.
"""

from common import imagenet


def get_config():
    c = imagenet('gmml', batch_size=1024, epochs=800)
    c.model.name = 'vit_s'
    c.model.patch = 16
    c.model.pool = 'mean'
    c.decoder.kind = 'mlp'
    c.decoder.widths = (384, 384, 384)
    c.decoder.hidden_norm = False
    c.decoder.activation = 'gelu'

    c.checkpoint.best = 'rankme_features'  # its views are corrupted apart, no pair of them is compared
    c.augment.recipe = ''
    c.augment.views.both = dict(
        size=224,
        count=2,
        crop=dict(scale=(0.05, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.01, p=0.3),
        blur=dict(p=0.1, sigma=(0.1, 2.0)),
    )

    c.optimizer.learning_rate = 2e-3  # 5e-4 x 1024 / 256
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.clip_norm = 3.0
    return c
