"""iBOT on CIFAR-10 with ViT-Ti and patches of 4x4: the recipe of its ViT-S at a small size, without local crops.

    python -m selfsup.train --config=experiments/cifar10/ibot.py --workdir=runs/cifar10/ibot

Hardware, time, result: not run yet. No published result of this setting is known to us.
An epoch is 49,000 // 1024 = 47 steps.
"""

from common import cifar10

STEPS = 47


def get_config():
    c = cifar10('ibot')
    del c.model.stem
    c.model.name = 'vit_ti'
    c.model.patch = 4  # 64 patches
    c.model.drop_path = 0.1
    c.method.prototypes = 4096
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.07
    c.method.patch_temperature = 0.07
    c.method.warmup_steps = 30 * STEPS
    c.method.momentum = 0.996
    c.method.momentum_final = 1.0
    c.method.learn_gain = True
    c.projector.widths = (2048, 2048, 256)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'

    c.data.batch_size = 1024
    c.augment.recipe = 'solo_asymmetric'

    c.optimizer.learning_rate = 2e-3  # 5e-4 x 1024 / 256
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.clip_norm = 3.0
    c.optimizer.clip_each = True
    c.optimizer.groups.prototypes = dict(freeze_steps=STEPS)
    c.train.epochs = 800
    return c
