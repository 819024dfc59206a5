"""DINOv2's recipe on CIFAR-10 with ViT-Ti and patches of 4x4, without local crops.

    python -m selfsup.train --config=experiments/cifar10/dinov2.py --workdir=runs/cifar10/dinov2

Hardware, time, result: not run yet. No published result of this setting is known to us.
An epoch is 49,000 // 1024 = 47 steps.
"""

from common import cifar10

STEPS = 47


def get_config():
    c = cifar10('dinov2')
    del c.model.stem
    c.model.name = 'vit_ti'
    c.model.patch = 4  # 64 patches
    c.model.drop_path = 0.1
    c.model.layer_scale = 1e-5
    c.model.registers = 4
    c.method.prototypes = 4096  # twice the class tokens of a step
    c.method.koleo_groups = 16  # of 64 images
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.07
    c.method.warmup_steps = 30 * STEPS
    c.method.momentum = 0.992
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 256)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'

    c.data.batch_size = 1024
    c.augment.recipe = 'solo_asymmetric'

    c.optimizer.learning_rate = 2e-3  # half of 4e-3 x sqrt(1024 / 1024): a smaller network, fewer views
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.clip_norm = 3.0
    c.optimizer.groups.prototypes = dict(freeze_steps=STEPS)
    c.train.epochs = 400
    return c
