"""DINO on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/dino.py --workdir=runs/cifar10/dino

Hardware, time, result: not run yet. solo-learn publishes 89.52 (online linear probe, one run).
Two views without multi-crop, as there. An epoch is 49,000 // 256 = 191 steps.
"""

from common import LARS, STEPS, solo_learn


def get_config():
    c = solo_learn('dino')
    c.method.prototypes = 4096
    c.method.student_temperature = 0.1
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.07
    c.method.warmup_steps = 50 * STEPS
    c.method.momentum = 0.9995
    c.method.momentum_final = 1.0
    c.projector.widths = (2048, 2048, 256)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(LARS, learning_rate=0.3, weight_decay=1e-6)  # x batch / 256
    c.optimizer.groups.prototypes = dict(freeze_steps=STEPS)
    return c
