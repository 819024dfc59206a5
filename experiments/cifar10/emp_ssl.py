"""EMP-SSL on CIFAR-10 with 20 views, the authors' losses and heads.

    python -m selfsup.train --config=experiments/cifar10/emp_ssl.py --workdir=runs/cifar10/emp_ssl

Hardware, time, result: not run yet. The authors evaluate the mean over patches with
a solver of their own; crops and optimiser are solo-learn's here, the trust ratio 0.02 instead of 0.005.
"""

from common import LARS, solo_learn, symmetric_views


def get_config():
    c = solo_learn('emp_ssl')
    c.projector.widths = (4096, 4096, 1024)
    c.data.batch_size = 100
    c.augment.views.all = symmetric_views(20)
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-4)
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 30
    c.checkpoint.every_epochs = 5
    c.monitor.every_epochs = 5
    return c
