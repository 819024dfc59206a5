"""VICRegL on CIFAR-10, the paper's recipe on small images.

    python -m selfsup.train --config=experiments/cifar10/vicregl.py --workdir=runs/cifar10/vicregl

Hardware, time, result: not run yet. No result is known for CIFAR-10.
A map has 4 x 4 places; the paper keeps 20 of 49 matches by position.
"""

from common import cifar10


def get_config():
    c = cifar10('vicregl')
    c.method.alpha = 0.75
    c.method.local_widths = (512, 512, 512)
    c.method.matches = (6, 6)
    c.projector.widths = (2048, 2048, 2048)
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 5e-4  # x batch / 256
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.final_share = 1e-3
    c.optimizer.groups.local_projector = dict(scale=0.1)
    c.train.epochs = 1000
    return c
