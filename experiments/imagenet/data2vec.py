"""data2vec on ImageNet with ViT-B/16, the authors' recipe for images (800 epochs, batch 2048).

    python -m selfsup.train --config=experiments/imagenet/data2vec.py --workdir=runs/imagenet/data2vec

Hardware, time, result: not run yet; 2048 images of 224x224 need several devices. The authors fine-tune, and report no
linear probe. Unlike theirs, positions are learned and not relative, and attention has no dropout. Crops are taken from
the full image, as in the paper.
"""

from common import imagenet


def get_config():
    c = imagenet('data2vec', batch_size=2048, epochs=800)
    c.method.ratio = 0.6125  # 120 of 196 patches
    c.method.layers = 6
    c.method.beta = 2.0
    c.method.momentum = 0.9998
    c.method.momentum_final = 0.9998
    c.model.name = 'vit_b'
    c.model.patch = 16
    c.model.pool = 'mean'
    c.model.layer_scale = 1e-4
    c.model.drop_path = 0.25
    c.decoder.kind = 'linear'

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = ''
    c.augment.views.only = dict(
        size=224,
        count=1,
        crop=dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0, p=1.0),
    )

    c.optimizer.learning_rate = 2e-3
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 3.0
    c.optimizer.warmup_epochs = 10.0
    return c
