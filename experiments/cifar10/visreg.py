"""VISReg on CIFAR-10, the authors' Imagenette recipe (four views, λ 0.6, 800 epochs) with a ResNet-18.

    python -m selfsup.train --config=experiments/cifar10/visreg.py --workdir=runs/cifar10/visreg

Hardware, time, result: not run yet. No result is known for this backbone.
"""

from common import cifar10, symmetric_views


def get_config():
    c = cifar10('visreg')
    c.method.lambd = 0.6
    c.projector.widths = (2048, 2048, 128)
    c.augment.recipe = ''  # solo-learn's symmetric colours, 4 views
    c.augment.views.both = symmetric_views(4)
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.optimizer.final_share = 1e-3
    c.train.epochs = 800
    return c
