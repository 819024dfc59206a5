"""MaskFeat on CIFAR-10 with ViT-Ti and patches of 4x4: the paper's recipe for images at a small size.

    python -m selfsup.train --config=experiments/cifar10/maskfeat.py --workdir=runs/cifar10/maskfeat

Hardware, time, result: not run yet. No published linear probe of this setting is known to us; the paper's features are
for fine-tuning.
"""

from common import crop_and_flip, one_view


def get_config():
    c = one_view('maskfeat')
    c.method.ratio = 0.4  # up to 25 of 64 patches
    c.method.cells = 1  # of 4x4 pixels
    c.model.positions = 'sincos'
    c.decoder.kind = 'linear'

    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.5)

    c.optimizer.learning_rate = 8e-4  # 2e-4 x 1024 / 256
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 0.02
    c.optimizer.warmup_epochs = 30.0
    return c
