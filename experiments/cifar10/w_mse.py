"""W-MSE on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/w_mse.py --workdir=runs/cifar10/w_mse

Hardware, time, result: not run yet. solo-learn publishes 88.67 (online linear probe, one run).
Theirs is Adam with the decay in the gradient; at 1e-6 that makes no difference.
"""

from common import solo_learn


def get_config():
    c = solo_learn('w_mse')
    c.method.block = 128
    c.projector.widths = (1024, 64)
    c.augment.recipe = 'solo_w_mse'
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 2e-3  # x batch / 256
    c.optimizer.weight_decay = 1e-6
    c.optimizer.warmup_start = 0.0
    return c
