"""CAPI on CIFAR-10 with ViT-Ti and patches of 4x4: the authors' recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/capi.py --workdir=runs/cifar10/capi

Hardware, time, result: not run yet. No published linear probe of this setting is known to us. As many clusters as
examples of a batch, so that the balance over them can be one; more of the hidden patches than the authors' 5 % are
predicted, since that would be 2 of 41.
"""

from common import crop_and_flip, one_view


def get_config():
    c = one_view('capi')
    c.method.prototypes = 1024
    c.method.ratio = 0.65  # 23 of 64 patches are seen
    c.method.predict = 0.3
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.model.class_token = False
    c.model.registers = 4
    c.model.drop_path = 0.1
    c.predictor.kind = 'cross'
    c.predictor.dim = 192
    c.predictor.depth = 6
    c.predictor.heads = 3

    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.6)

    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.1
    c.optimizer.warmup_epochs = 80.0
    return c
