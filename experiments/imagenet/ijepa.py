"""I-JEPA on ImageNet with ViT-B/16, the paper's recipe (600 epochs, batch 2048).

    python -m selfsup.train --config=experiments/imagenet/ijepa.py --workdir=runs/imagenet/ijepa

Hardware, time, result: not run yet; 2048 images of 224x224 need several devices. The authors publish no checkpoint of
this size. The target's momentum rises along a cosine, not a line. Crops are taken from the full image, as in the paper.
"""

from common import imagenet


def get_config():
    c = imagenet('ijepa', batch_size=2048, epochs=600)
    c.method.context = 55  # of 196 patches, the mean of the authors' batches
    c.method.momentum = 0.996
    c.method.momentum_final = 1.0
    c.model.name = 'vit_b'
    c.model.patch = 16
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.class_token = False
    c.predictor.kind = 'transformer'
    c.predictor.dim = 384
    c.predictor.depth = 6
    c.predictor.heads = 12
    c.predictor.init_kernels = 'truncated'

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = ''
    c.augment.views.only = dict(
        size=224,
        count=1,
        crop=dict(scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
    )

    c.optimizer.learning_rate = 1e-3  # not scaled
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 40.0
    c.optimizer.warmup_start = 2e-4
    c.optimizer.final_share = 1e-3
    return c
