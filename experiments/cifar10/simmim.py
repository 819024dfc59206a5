"""SimMIM on CIFAR-10 with ViT-Ti and patches of 4x4: the paper's recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/simmim.py --workdir=runs/cifar10/simmim

Hardware, time, result: not run yet. No published linear probe of this setting is known to us; the paper's features are
for fine-tuning.
"""

from common import crop_and_flip, one_view


def get_config():
    c = one_view('simmim')
    c.method.ratio = 0.6
    c.method.unit = 2  # 10 of 16 squares of 8x8 pixels
    c.model.layer_scale = 0.1
    c.model.drop_path = 0.1
    c.decoder.kind = 'linear'

    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.67)

    c.optimizer.learning_rate = 2e-4  # 1e-4 x 1024 / 512
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 5.0
    c.optimizer.warmup_epochs = 10.0
    return c
