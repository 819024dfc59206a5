"""VIbCReg on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/vibcreg.py --workdir=runs/cifar10/vibcreg

Hardware, time, result: not run yet. solo-learn publishes 91.18 (online linear probe, one run).
Its variance term is not halved there, and its LARS is not clipped.
"""

from common import solo_learn


def get_config():
    c = solo_learn('vibcreg')
    c.method.invariance_weight = 25.0
    c.method.variance_weight = 25.0
    c.method.covariance_weight = 200.0
    c.method.halve_variance = False
    c.projector.widths = (2048, 2048, 2048)
    c.projector.last_norm = 'iterative'  # 64 groups of 32 channels
    c.augment.recipe = 'solo_vicreg'
    c.optimizer.name = 'lars'
    c.optimizer.trust = 0.02
    c.optimizer.learning_rate = 0.3  # x batch / 256
    c.optimizer.weight_decay = 1e-4
    return c
