"""MSN on ImageNet with ViT-S/16, the recipe of its README (800 epochs, batch 1024), with eight small crops for ten.

    python -m selfsup.train --config=experiments/imagenet/msn.py --workdir=runs/imagenet/msn

Hardware, time, result: not run yet; 1024 images of several crops need several devices.
The paper's linear probe is of the target encoder without head.
"""

from common import imagenet


def get_config():
    c = imagenet('msn', batch_size=1024, epochs=800)
    c.model.name = 'vit_s'
    c.model.patch = 16
    c.method.prototypes = 1024
    c.method.ratio = 0.15
    c.method.momentum = 0.996
    c.method.momentum_final = 0.9992
    c.projector.widths = (2048, 2048, 256)
    c.projector.activation = 'gelu'

    c.augment.recipe = 'dino'

    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.04
    c.optimizer.weight_decay_final = 0.4
    c.optimizer.warmup_epochs = 15.0
    c.optimizer.warmup_start = 2e-4
    c.optimizer.final_share = 0.1  # the authors' schedule is cut off there
    c.optimizer.clip_norm = 3.0
    c.optimizer.groups.prototypes = dict(decay=0.0)
    return c
