"""INTL on CIFAR-10, the authors' recipe (github.com/winci-ai/INTL, 0aa69af, scripts/cifar10.sh), for comparison.

    python -m selfsup.train --config=experiments/cifar10/intl.py --workdir=runs/cifar10/intl

Hardware, time, result: not run yet. The authors publish 92.60 (linear) and 90.03 (5-NN).
After the warm-up theirs has the learning rate of the next step.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('intl')
    c.projector.widths = (2048, 2048, 2048)
    c.projector.hidden_bias = False
    c.augment.recipe = 'solo_asymmetric'  # which has its crops, colours and solarisation
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    c.optimizer.warmup_epochs = 2.0
    c.optimizer.warmup_inclusive = True
    c.optimizer.final_share = 0.001
    c.train.epochs = 1000
    return c
