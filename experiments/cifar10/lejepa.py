"""LeJEPA on CIFAR-10, the authors' minimal recipe (four views, a narrow projector) with a ResNet-18.

    python -m selfsup.train --config=experiments/cifar10/lejepa.py --workdir=runs/cifar10/lejepa

Hardware, time, result: not run yet. No result is known for this backbone.
"""

from common import cifar10, symmetric_views


def get_config():
    c = cifar10('lejepa')
    c.method.lambd = 0.02
    c.method.directions = 256
    c.projector.widths = (2048, 2048, 16)
    c.augment.recipe = ''  # solo-learn's symmetric colours, 4 views
    c.augment.views.both = symmetric_views(4)
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 2e-3
    c.optimizer.weight_decay = 5e-4  # theirs for ResNets
    c.optimizer.warmup_epochs = 1.0
    c.optimizer.final_share = 1e-3
    c.train.epochs = 800
    return c
