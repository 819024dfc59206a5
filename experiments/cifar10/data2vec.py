"""data2vec on CIFAR-10 with ViT-Ti and patches of 4x4: the authors' recipe for images at a small size.

    python -m selfsup.train --config=experiments/cifar10/data2vec.py --workdir=runs/cifar10/data2vec

Hardware, time, result: not run yet. No published linear probe of this setting is known to us.
"""

from common import crop_and_flip, one_view


def get_config():
    c = one_view('data2vec')
    c.method.ratio = 0.6
    c.method.layers = 6
    c.method.momentum = 0.996
    c.method.momentum_final = 0.9999
    c.model.layer_scale = 0.1
    c.model.drop_path = 0.1
    c.decoder.kind = 'linear'

    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.2)

    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 3.0
    c.optimizer.warmup_epochs = 40.0
    return c
