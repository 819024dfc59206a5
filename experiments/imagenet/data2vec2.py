"""data2vec 2.0 on ImageNet with ViT-B/16, the authors' recipe (75 epochs, 256 images behind 16 masks each).

    python -m selfsup.train --config=experiments/imagenet/data2vec2.py --workdir=runs/imagenet/data2vec2

Hardware, time, result: not run yet; 4096 views of 224x224 need several devices. The authors fine-tune, and report no
linear probe. Unlike theirs, norms stand before attention and MLP, and the target's momentum rises along a cosine over
the run, not a line over 100,000 steps. Crops are taken from the full image, as in the paper.
"""

from common import imagenet


def get_config():
    c = imagenet('data2vec2', batch_size=256, epochs=75)
    c.method.ratio = 0.8  # 39 of 196 patches are seen
    c.method.length = 3
    c.method.adjust = 0.07
    c.method.masks = 16
    c.method.layers = 10
    c.method.class_weight = 2.56  # 0.01 x 256 views of a device
    c.method.momentum = 0.9998
    c.method.momentum_final = 0.99999
    c.model.name = 'vit_b'
    c.model.patch = 16
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'convolution'
    c.decoder.dim = 768
    c.decoder.depth = 6

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'mae'

    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 4.0
    c.optimizer.warmup_epochs = 10.0
    return c
