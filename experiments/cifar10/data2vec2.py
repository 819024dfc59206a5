"""data2vec 2.0 on CIFAR-10 with ViT-Ti and patches of 4x4: the paper's recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/data2vec2.py --workdir=runs/cifar10/data2vec2

Hardware, time, result: not run yet. No published linear probe of this setting is known to us. An epoch counts images,
each of which is seen behind 8 masks.
"""

from common import cifar10


def get_config():
    c = cifar10('data2vec2')
    del c.model.stem
    c.method.ratio = 0.75  # 16 of 64 patches are seen
    c.method.length = 2
    c.method.adjust = 0.1
    c.method.masks = 8
    c.method.layers = 10
    c.method.class_weight = 0.01
    c.method.momentum = 0.996
    c.method.momentum_final = 0.9999
    c.model.name = 'vit_ti'
    c.model.patch = 4
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'convolution'
    c.decoder.dim = 192
    c.decoder.depth = 3

    c.data.batch_size = 256

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'mae'

    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 4.0
    c.optimizer.warmup_epochs = 20.0

    c.train.epochs = 200
    return c
