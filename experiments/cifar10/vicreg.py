"""VICReg on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/vicreg.py --workdir=runs/cifar10/vicreg

Hardware, time, result: not run yet. solo-learn publishes 92.07 (online linear probe, one run).
Its variance term is not halved there, hence halve_variance = False.
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('vicreg')
    c.method.halve_variance = False
    c.projector.widths = (2048, 2048, 2048)
    c.augment.recipe = 'solo_vicreg'
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c
