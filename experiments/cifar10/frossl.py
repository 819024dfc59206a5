"""FroSSL on CIFAR-10, the authors' recipe (their scripts/pretrain/cifar/frossl.yaml).

    python -m selfsup.train --config=experiments/cifar10/frossl.py --workdir=runs/cifar10/frossl

Hardware, time, result: not run yet. Published: not known to us in this repository.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('frossl')
    c.projector.widths = (2048, 2048, 1024)
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
