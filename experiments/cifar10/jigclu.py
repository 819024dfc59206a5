"""JigClu on CIFAR-10 with a ResNet-18: patches of 16x16 pixels, in montages of 32x32.

    python -m selfsup.train --config=experiments/cifar10/jigclu.py --workdir=runs/cifar10/jigclu

Hardware, time, result: not run yet. The authors' recipe of ImageNet; no result of theirs is known to us for this size.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('jigclu')
    c.projector.widths = (512, 128)
    c.projector.hidden_norm = False
    c.augment.recipe = 'jigclu'
    c.optimizer.update(SGD, learning_rate=0.03, weight_decay=1e-4)  # x batch / 256
    c.train.epochs = 200
    return c
