"""I-JEPA on CIFAR-10 with ViT-Ti and patches of 4x4: the paper's recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/ijepa.py --workdir=runs/cifar10/ijepa

Hardware, time, result: not run yet. No published linear probe of this setting is known to us.
"""

from common import one_view


def get_config():
    c = one_view('ijepa')
    c.method.context = 16  # of 64 patches; so many are always allowed
    c.method.least = 8
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.positions = 'sincos'
    c.model.class_token = False
    c.predictor.kind = 'transformer'
    c.predictor.dim = 96
    c.predictor.depth = 4
    c.predictor.heads = 3

    c.augment.recipe = ''
    c.augment.views.only = dict(
        size=32,
        count=1,
        crop=dict(scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
    )

    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 40.0
    c.optimizer.warmup_start = 2e-4
    c.optimizer.final_share = 1e-3
    return c
