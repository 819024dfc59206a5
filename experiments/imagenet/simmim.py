"""SimMIM on ImageNet with ViT-B/16, the paper's recipe (800 epochs, batch 2048).

    python -m selfsup.train --config=experiments/imagenet/simmim.py --workdir=runs/imagenet/simmim

Hardware, time, result: not run yet; 2048 images of 224x224 need several devices. The authors fine-tune to 83.8 (their
README). Unlike theirs, positions are learned and not relative, and the learning rate falls along a cosine, not by a
factor of 10 at epoch 700. Crops are taken from the full image, as in the paper.
"""

from common import imagenet


def get_config():
    c = imagenet('simmim', batch_size=2048, epochs=800)
    c.method.ratio = 0.6
    c.method.unit = 2  # 30 of 49 squares of 32x32 pixels
    c.model.name = 'vit_b'
    c.model.patch = 16
    c.model.pool = 'mean'
    c.model.layer_scale = 0.1
    c.model.drop_path = 0.1
    c.decoder.kind = 'linear'

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = ''
    c.augment.views.only = dict(
        size=224,
        count=1,
        crop=dict(scale=(0.67, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
    )

    c.optimizer.learning_rate = 4e-4  # 1e-4 x 2048 / 512
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 5.0
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 2e-6
    return c
