"""GMML on CIFAR-10 with ViT-Ti and patches of 4x4: the recipe of the paper at a small size.

    python -m selfsup.train --config=experiments/cifar10/gmml.py --workdir=runs/cifar10/gmml

Hardware, time, result: not run yet. No published linear probe of this setting is known to us.
"""

from common import cifar10


def get_config():
    c = cifar10('gmml')
    del c.model.stem
    c.model.name = 'vit_ti'
    c.model.patch = 4
    c.model.pool = 'mean'
    c.decoder.kind = 'mlp'
    c.decoder.widths = (192, 192, 192)
    c.decoder.hidden_norm = False
    c.decoder.activation = 'gelu'

    c.data.batch_size = 256
    c.checkpoint.best = 'rankme_features'  # its views are corrupted apart, no pair of them is compared
    c.augment.recipe = ''
    c.augment.views.both = dict(
        size=32,
        count=2,
        crop=dict(scale=(0.05, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.01, p=0.3),
        blur=dict(p=0.1, sigma=(0.1, 2.0)),
    )

    c.optimizer.learning_rate = 5e-4  # x batch / 256
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.clip_norm = 3.0
    c.train.epochs = 800
    return c
