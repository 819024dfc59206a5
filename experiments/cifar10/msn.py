"""MSN on CIFAR-10 with ViT-Ti and patches of 4x4: the recipe of its ViT-S with one anchor, which is masked.

    python -m selfsup.train --config=experiments/cifar10/msn.py --workdir=runs/cifar10/msn

Hardware, time, result: not run yet. No published result of this setting is known to us.
"""

from common import cifar10


def get_config():
    c = cifar10('msn')
    del c.model.stem
    c.model.name = 'vit_ti'
    c.model.patch = 4  # 64 patches
    c.model.drop_path = 0.1
    c.method.prototypes = 1024
    c.method.ratio = 0.15  # 54 of 64 patches are seen
    c.method.momentum = 0.996
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 256)
    c.projector.activation = 'gelu'

    c.data.batch_size = 1024
    c.augment.recipe = 'solo_asymmetric'

    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 15.0
    c.optimizer.clip_norm = 3.0
    c.optimizer.warmup_start = 2e-4
    c.optimizer.final_share = 0.1  # the authors' schedule is cut off there
    c.optimizer.groups.prototypes = dict(decay=0.0)
    c.train.epochs = 800
    return c
